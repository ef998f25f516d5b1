"""A plugin whose records are right and whose classes are not."""
