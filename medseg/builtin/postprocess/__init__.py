"""Steps after the segmenter: components, holes and outlines of labels."""
