"""Radiomics features for medseg."""
