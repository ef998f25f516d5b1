"""Built-in measurements: one component a file, registered through the same hook as anyone's."""
