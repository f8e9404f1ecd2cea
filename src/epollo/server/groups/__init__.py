"""Groups of connections, and publishing to them."""
