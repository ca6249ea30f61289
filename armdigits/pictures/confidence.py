"""How far an answer can be trusted: the probability of its digit, averaged over small shifts of the image.

A network gives pictures of no digit high probabilities, too, but they change more when the image moves by a pixel
(https://arxiv.org/abs/1706.02690 uses small changes of the input to the same end). `python -m benchmarks.pictures`
prints the figures from which `UNSURE` follows.
"""

import numpy as np
from numpy.typing import NDArray

UNSURE = 0.95  # an answer with less confidence is unsure
SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # rows down, columns to the right


def shifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image uint8 [C, H, W] in five positions, the first one as it is: uint8 [5, C, H, W]."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    _, height, width = image.shape
    return np.stack([padded[:, 1 - y : 1 - y + height, 1 - x : 1 - x + width] for y, x in SHIFTS])


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities float64 [N, classes] of logits float32 [N, classes]."""
    shares = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def confidence(probabilities: NDArray[np.float64]) -> float:
    """The mean probability of the first row's label, from the probabilities [5, classes] of the shifted images."""
    return float(probabilities[:, probabilities[0].argmax()].mean())
