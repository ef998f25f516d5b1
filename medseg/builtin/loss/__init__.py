"""Built-in losses: what training makes small."""
