"""The messages to send, when to send them, and the correct replies."""
