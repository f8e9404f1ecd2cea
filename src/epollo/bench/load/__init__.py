"""What is sent and when, and what a correct reply is."""
