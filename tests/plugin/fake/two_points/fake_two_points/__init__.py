"""A plugin with two entry points that offer one name."""
