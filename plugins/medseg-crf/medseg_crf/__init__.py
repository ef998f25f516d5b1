"""Fully connected conditional random fields for medseg."""
