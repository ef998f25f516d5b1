"""A plugin one of whose hooks fails."""
