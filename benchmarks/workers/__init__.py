"""Workers: how new connections are spread, what they cost, and what a second core brings."""
