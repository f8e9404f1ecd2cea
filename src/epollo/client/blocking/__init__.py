"""The blocking client, and a pool of them for many threads."""
