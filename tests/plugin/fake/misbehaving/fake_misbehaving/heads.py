from medseg.builtin.head.softmax import Softmax
from medseg.segmentation import LabelTable


class SureOfALabel(Softmax):
    """Takes a label for the background."""

    def background_logits(self, labels: LabelTable) -> tuple[float, ...]:
        return (0.0, 1.0, *(0.0,) * (len(labels) - 1))


class ShortBackground(Softmax):
    """Says too little of the background."""

    def background_logits(self, labels: LabelTable) -> tuple[float, ...]:
        return (1.0,)
