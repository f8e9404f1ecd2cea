"""The programs, a file each."""
