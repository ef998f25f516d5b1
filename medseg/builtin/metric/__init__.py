"""Built-in metrics: predictions against references."""
