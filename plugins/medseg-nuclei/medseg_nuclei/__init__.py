"""A trained model for medseg: nuclei in pictures from a microscope."""
