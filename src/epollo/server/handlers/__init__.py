"""Applications, and the executors that call their functions."""
