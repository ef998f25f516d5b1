"""Random changes of training patches: where they are read, and what their values are."""
