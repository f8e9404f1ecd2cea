"""What is sent, and when: sizes, contents, times, and what a right reply is."""
