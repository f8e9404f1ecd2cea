"""What the load tester does for each message, in code to be read: `native` has it to be run."""
