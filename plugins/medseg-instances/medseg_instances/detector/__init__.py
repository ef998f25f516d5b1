"""Objects by boxes: Mask R-CNN and RetinaNet with masks, in pictures and in space."""
