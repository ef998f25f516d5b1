"""A plugin whose components have names that others have too."""
