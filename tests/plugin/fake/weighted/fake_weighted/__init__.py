"""A segmenter that names files of its model's folder."""
