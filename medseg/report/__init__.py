"""What people look at: previews of a finished case (no global plotting state) and lines of tables."""
