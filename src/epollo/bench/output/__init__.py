"""A result as text, page or picture."""
