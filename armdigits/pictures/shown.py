"""Images as people look at them."""

import numpy as np
from numpy.typing import NDArray


def shown(image: NDArray[np.uint8], reading: str) -> NDArray[np.uint8]:
    """An image uint8 [C, H, W] as [H, W, 3] for a screen: ink is dark on light, a photo as it is."""
    channels, _, _ = image.shape
    visible = 255 - image if reading == "ink" else image
    return np.ascontiguousarray(np.repeat(visible, 3 // channels, axis=0).transpose(1, 2, 0))
