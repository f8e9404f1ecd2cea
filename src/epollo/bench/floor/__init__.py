"""The tester's own floor: an exchange with a server that does nothing."""
