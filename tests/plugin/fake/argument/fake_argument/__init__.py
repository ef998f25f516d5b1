"""A plugin whose hook wants what it does not get."""
