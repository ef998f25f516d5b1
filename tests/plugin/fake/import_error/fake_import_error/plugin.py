"""Needs a library that is not there."""

raise ImportError("libfoo.so.3:\n  cannot open shared object file")
