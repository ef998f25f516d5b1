"""Steps before the segmenter: orientation, spacing, extent and intensity."""
