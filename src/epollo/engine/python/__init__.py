"""The engine to be read: the article's loop, in Python."""
