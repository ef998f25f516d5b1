"""A plugin whose installation was interrupted."""
