"""What people look at: previews of a finished case (no global plotting state) and lines of tables."""

__all__ = ["NOTICE"]

NOTICE = "Research use only. Not for diagnosis."
"""What every output says."""
