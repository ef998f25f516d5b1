"""A segmenter that counts how often it is opened and how many use it at once."""
