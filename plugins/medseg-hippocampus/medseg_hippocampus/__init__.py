"""The model hippocampus: a medseg plugin of data only."""
