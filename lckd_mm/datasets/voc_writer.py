"""Files of one digit scene: those of PASCAL VOC, and a crop of each digit."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .digit_object import CLASSES
from .digit_scene import DigitScene

# Each image has one file in each of these folders.
FOLDERS = {'JPEGImages': '.jpg', 'Annotations': '.xml', 'SegmentationClass': '.png'}

_CROP_SIZE = 16  # Height and width of the crops, in pixels: twice the size of scikit-learn's digits.
_CROP_CONTEXT = (
    1.3  # Side of a crop divided by the longer side of the digit's box, so that a crop shows some background.
)


def write_scene(folder: Path, name: str, scene: DigitScene) -> None:
    """Write the image, the mask and the annotation of a scene.

    Args:
        folder (Path): The root folder of the set, which contains :data:`FOLDERS`.
        name (str): Name of the files without suffix.
        scene (DigitScene): The scene.
    """
    Image.fromarray(scene.image).save(folder / 'JPEGImages' / f'{name}.jpg', quality=92)
    mask = Image.fromarray(scene.mask).convert('P')
    mask.putpalette(_voc_palette())
    mask.save(folder / 'SegmentationClass' / f'{name}.png')
    root = ElementTree.Element('annotation')
    _add_children(root, folder='JPEGImages', filename=f'{name}.jpg', segmented=1)
    height, width, depth = scene.image.shape
    _add_children(ElementTree.SubElement(root, 'size'), width=width, height=height, depth=depth)
    for label, (x1, y1, x2, y2) in scene.objects:
        element = ElementTree.SubElement(root, 'object')
        _add_children(element, name=CLASSES[label], pose='Unspecified', truncated=0, difficult=0)
        # VOC counts pixels from 1, and both corners are inside the box.
        box = ElementTree.SubElement(element, 'bndbox')
        _add_children(box, xmin=x1 + 1, ymin=y1 + 1, xmax=x2 + 1, ymax=y2 + 1)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(folder / 'Annotations' / f'{name}.xml')


def write_crops(folder: Path, name: str, scene: DigitScene) -> int:
    """Write a crop of each digit of a scene to the folder of its class.

    Args:
        folder (Path): The folder of the split's crops. Missing class folders are created.
        name (str): Name of the scene, the first part of the file names.
        scene (DigitScene): The scene.

    Returns:
        int: Number of crops.
    """
    for index, (label, box) in enumerate(scene.objects):
        (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        crop_digit(scene.image, box).save(folder / CLASSES[label] / f'{name}_{index}.png')
    return len(scene.objects)


def crop_digit(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Image.Image:
    """Crop the square around a box and resize it to 16 x 16 pixels. At a border the square is shifted into the image.

    Args:
        image (NDArray): RGB image, (H, W, 3), uint8.
        box (tuple[int, int, int, int]): (x1, y1, x2, y2), 0-based, with both corners inside the box.

    Returns:
        Image.Image: The crop.

    Example:
        >>> crop_digit(np.zeros((80, 100, 3), np.uint8), (40, 40, 59, 69)).size
        (16, 16)
    """
    x1, y1, x2, y2 = box
    side = min(round(_CROP_CONTEXT * max(x2 - x1 + 1, y2 - y1 + 1)), *image.shape[:2])
    left, top = (
        min(max(round((low + high + 1 - side) / 2), 0), size - side)
        for low, high, size in ((x1, x2, image.shape[1]), (y1, y2, image.shape[0]))
    )
    crop = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
    return crop.resize((_CROP_SIZE, _CROP_SIZE), Image.Resampling.BICUBIC)


def _add_children(parent: ElementTree.Element, **children: str | int) -> None:
    for tag, value in children.items():
        ElementTree.SubElement(parent, tag).text = str(value)


def _voc_palette() -> bytes:
    """Return VOC's color map: bit 3 k + c of the class index is bit 7 - k of channel c."""
    indices = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for k in range(8):
        for channel in range(3):
            palette[:, channel] |= ((indices >> (3 * k + channel) & 1) << (7 - k)).astype(np.uint8)
    return palette.tobytes()
