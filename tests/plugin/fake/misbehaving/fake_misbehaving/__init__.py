"""A plugin whose steps break their contracts, each in its own way."""
