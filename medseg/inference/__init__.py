"""Running a network over a volume: windows, streaming, sinks. Knows no head and no label name."""
