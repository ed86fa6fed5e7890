from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .digit_object import DigitObject

# The value of ignored pixels in masks, as in PASCAL VOC.
VOID = 255


class DigitScene(NamedTuple):
    """An image of several digits and its annotations.

    Attributes:
        image: RGB image, (H, W, 3), uint8.
        mask: Class mask, (H, W), uint8: 0 for background, 1 + label for a digit, :data:`VOID` for the blurred contour
            around it.
        objects: The digits.

    Example:
        >>> scene = DigitScene(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), [])
        >>> scene.image.shape
        (8, 8, 3)
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    objects: list[DigitObject]
