"""Built-in heads: what the channels of a network mean."""
