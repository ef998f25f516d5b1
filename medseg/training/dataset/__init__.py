"""Datasets to train on, as their owners have them.

    dataset = open_dataset("Task04_Hippocampus")
    for case in dataset.trainable:
        volume, segmentation, ignore = read_case(case, dataset)

Folders of the Medical Segmentation Decathlon and of nnU-Net, folders of images and masks, CSV files; a
`dataset.yaml` says what the data do not say themselves.
"""

from medseg.training.dataset.case import Case, Dataset, Statement
from medseg.training.dataset.opening import open_dataset
from medseg.training.dataset.reading import Example, read_case

__all__ = ["Case", "Dataset", "Example", "Statement", "open_dataset", "read_case"]
