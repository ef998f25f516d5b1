"""Drawing: previews of a finished case, without any global plotting state."""
