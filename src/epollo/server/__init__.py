"""The server: listening, serving an application, stopping."""
