"""A plugin with one component of every kind, all in order."""
