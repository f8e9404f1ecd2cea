"""The commands, and what their parts share."""
