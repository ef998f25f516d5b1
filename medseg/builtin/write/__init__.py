"""Built-in writers: one component a file, registered through the same hook as anyone's."""
