"""A plugin whose entry points name things that are no modules."""

__version__ = "1.2"
NOTHING = None
