"""A plugin whose hooks are nearly right."""
