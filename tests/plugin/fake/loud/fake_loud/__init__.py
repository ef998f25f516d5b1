"""A plugin that prints."""
