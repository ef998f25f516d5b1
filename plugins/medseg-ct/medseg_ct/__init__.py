"""Tissue rules for CT: a medseg plugin that needs no trained weights."""
