"""The parts of pictures and pages of results."""
