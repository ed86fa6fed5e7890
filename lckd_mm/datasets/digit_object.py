from typing import NamedTuple

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')


class DigitObject(NamedTuple):
    """One digit of a scene.

    Attributes:
        label: Index into :data:`CLASSES`.
        box: The tight bounding box (x1, y1, x2, y2), 0-based, with both corners inside the box.

    Example:
        >>> CLASSES[DigitObject(label=3, box=(0, 0, 9, 19)).label]
        'three'
    """

    label: int
    box: tuple[int, int, int, int]
