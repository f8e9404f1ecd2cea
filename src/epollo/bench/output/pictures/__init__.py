"""What pictures and pages of results are made of."""
