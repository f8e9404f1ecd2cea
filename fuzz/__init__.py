"""Random streams, valid and hostile, through both engines, which must agree. See README.md."""
