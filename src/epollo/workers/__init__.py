"""Several processes that serve one application: a supervisor, and its workers."""
