"""The bundled demonstration set: handwritten digits in front of photographs, laid out like PASCAL VOC.

Beside the scenes with their boxes and masks it holds a crop of every digit, in a folder for each class, to be classified.

Everything it is made of comes inside scikit-learn (1797 digits of 8x8 pixels, two photographs): nothing is downloaded.
"""

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple, Union
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from rich.progress import Progress

CLASSES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
SPLITS = ('train', 'val', 'test')
VOID = 255
MARKER = 'digit_scenes.json'

# Raised whenever the same settings would give other bytes, so that a set made by an older version is remade.
VERSION = 2

# The share of the digits that belongs to each split, and where the strip of each photograph that it sees starts and
# ends (val and test share theirs: narrower ones would hold nothing but leaves).
_SHARES = {'train': 0.6, 'val': 0.2, 'test': 0.2}
_STRIPS = {'train': (0.0, 0.55), 'val': (0.55, 1.0), 'test': (0.55, 1.0)}

_OPAQUE = 0.5  # opacity from which a pixel belongs to the digit: inside the mask, inside the box
_VISIBLE = 0.15  # opacity from which a pixel is no longer pure background: void in the mask, as VOC marks its contours
_MIN_CONTRAST = 60.0  # least difference of luminance (0 to 255) between a digit and what it covers
_PLACEMENT_TRIES = 40

_CROP_SIZE = 16  # height and width of the crops, in pixels: twice that of scikit-learn's digits
_CROP_CONTEXT = (
    1.3  # side of a crop over the longer side of the digit's box: what is around a digit belongs to the picture
)

# A finished set holds one file of each kind per image.
_FOLDERS = {'JPEGImages': '.jpg', 'Annotations': '.xml', 'SegmentationClass': '.png'}


@dataclass(frozen=True)
class DigitSceneSettings:
    """What determines the set, down to its bytes.

    Args:
        seed: Seed of everything random. Each image has a generator of its own, so that more images of one split leave
            the images of all splits as they were.
        num_train: Number of training images.
        num_val: Number of validation images.
        num_test: Number of test images.
        image_size: Height and width of the images, in pixels.
        min_digits: Fewest digits wanted in an image.
        max_digits: Most digits in an image. A crowded image holds fewer than were drawn for it, never less than one.
        min_height: Smallest height of the frame a digit is drawn in, in pixels. Its strokes fill most of it.
        max_height: Largest height of that frame, in pixels.

    Raises:
        ValueError: If a number is out of range.
    """

    seed: int = 0
    num_train: int = 480
    num_val: int = 120
    num_test: int = 120
    image_size: int = 160
    min_digits: int = 4
    max_digits: int = 10
    min_height: int = 24
    max_height: int = 44

    def __post_init__(self) -> None:
        """Refuse settings no set can be made from."""
        if self.seed < 0:
            raise ValueError(f'seed must not be negative, got {self.seed}')
        for name in ('num_train', 'num_val', 'num_test', 'min_digits'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} must be at least 1, got {getattr(self, name)}')
        if self.max_digits < self.min_digits:
            raise ValueError(f'max_digits must be at least min_digits ({self.min_digits}), got {self.max_digits}')
        if not 8 <= self.min_height <= self.max_height:
            raise ValueError(f'wanted 8 <= min_height <= max_height, got {self.min_height} and {self.max_height}')
        if self.image_size < 2 * self.max_height:
            raise ValueError(f'image_size must be at least twice max_height ({self.max_height}), got {self.image_size}')

    def num_images(self, split: str) -> int:
        """Return the number of images of ``split``."""
        return getattr(self, f'num_{split}')


class DigitObject(NamedTuple):
    """One digit of a scene: its class and its tight box, 0-based, both corners inside (x1, y1, x2, y2)."""

    label: int
    box: Tuple[int, int, int, int]


class DigitScene(NamedTuple):
    """A scene: RGB image (H, W, 3) and class mask (H, W), both uint8, and its objects.

    The mask is 0 for background, 1 + label for a digit, 255 for the blurred contour around it.
    """

    image: np.ndarray
    mask: np.ndarray
    objects: List[DigitObject]


def split_digits(seed: int) -> Dict[str, np.ndarray]:
    """Deal scikit-learn's digits to the splits, each class in the same proportion.

    Args:
        seed: Seed of the order they are dealt in.

    Returns:
        For each split the indices into ``sklearn.datasets.load_digits()``; no index is in two splits.
    """
    from sklearn.datasets import load_digits

    targets = load_digits().target
    rng = np.random.default_rng(seed)
    parts: Dict[str, List[np.ndarray]] = {split: [] for split in SPLITS}
    for label in range(len(CLASSES)):
        indices = rng.permutation(np.flatnonzero(targets == label))
        bounds = np.cumsum([round(_SHARES[split] * len(indices)) for split in SPLITS[:-1]])
        for split, part in zip(SPLITS, np.split(indices, bounds)):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


def crop_digit(image: np.ndarray, box: Tuple[int, int, int, int]) -> Image.Image:
    """Cut the square around a box out of an image, moved inside it at its edges, and bring it to 16 x 16 pixels.

    Args:
        image: (H, W, 3), uint8.
        box: 0-based, both corners inside (x1, y1, x2, y2).

    Returns:
        The crop.
    """
    x1, y1, x2, y2 = box
    side = min(round(_CROP_CONTEXT * max(x2 - x1 + 1, y2 - y1 + 1)), *image.shape[:2])
    left, top = (
        min(max(round((low + high + 1 - side) / 2), 0), size - side)
        for low, high, size in ((x1, x2, image.shape[1]), (y1, y2, image.shape[0]))
    )
    crop = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
    return crop.resize((_CROP_SIZE, _CROP_SIZE), Image.Resampling.BICUBIC)


class DigitSceneMaker:
    """Makes the scenes of one split.

    Args:
        split: ``'train'``, ``'val'`` or ``'test'``.
        settings: What the set is like.

    Example:
        >>> scene = DigitSceneMaker('train', DigitSceneSettings(seed=0))(0)
        >>> scene.image.shape
        (160, 160, 3)
    """

    def __init__(self, split: str, settings: DigitSceneSettings) -> None:
        from sklearn.datasets import load_digits, load_sample_images

        if split not in SPLITS:
            raise ValueError(f'split must be one of {SPLITS}, got {split!r}')
        self.split = split
        self.settings = settings
        digits = load_digits()
        chosen = split_digits(settings.seed)[split]
        self.digits = digits.images[chosen].astype(np.float32) / 16.0  # scikit-learn's digits count from 0 to 16
        self.labels = digits.target[chosen]
        start, stop = _STRIPS[split]
        self.photographs = []
        for photograph in load_sample_images().images:
            width = photograph.shape[1]
            self.photographs.append(photograph[:, round(start * width) : round(stop * width)])

    def __call__(self, index: int) -> DigitScene:
        """Make scene ``index`` of the split; the same index always gives the same scene."""
        settings = self.settings
        rng = np.random.default_rng([settings.seed, SPLITS.index(self.split), index])
        canvas = self._background(rng)
        mask = np.zeros(canvas.shape[:2], np.uint8)
        objects: List[DigitObject] = []
        wanted = int(rng.integers(settings.min_digits, settings.max_digits + 1))
        for _ in range(wanted):
            pick = int(rng.integers(len(self.digits)))
            opacity = self._draw_digit(self.digits[pick], rng)
            height, width = opacity.shape
            for _ in range(_PLACEMENT_TRIES):
                top = int(rng.integers(0, settings.image_size - height + 1))
                left = int(rng.integers(0, settings.image_size - width + 1))
                frame = (slice(top, top + height), slice(left, left + width))
                if not mask[frame].any():
                    break
            else:
                continue
            self._paint(canvas[frame], opacity, rng)
            label = int(self.labels[pick])
            mask[frame][opacity >= _VISIBLE] = VOID
            mask[frame][opacity >= _OPAQUE] = 1 + label
            rows, columns = np.nonzero(opacity >= _OPAQUE)
            corners = (left + columns.min(), top + rows.min(), left + columns.max(), top + rows.max())
            objects.append(DigitObject(label, tuple(int(corner) for corner in corners)))
        return DigitScene(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), mask, objects)

    def _background(self, rng: np.random.Generator) -> np.ndarray:
        """Cut a square out of a photograph and bring it to size, in a light of its own: float32 (H, W, 3)."""
        photograph = self.photographs[rng.integers(len(self.photographs))]
        height, width = photograph.shape[:2]
        side = int(rng.integers(min(height, width) // 2, min(height, width) + 1))
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        crop = photograph[top : top + side, left : left + side]
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        size = self.settings.image_size
        crop = Image.fromarray(np.ascontiguousarray(crop)).resize((size, size), Image.Resampling.BICUBIC)
        canvas = np.asarray(crop, np.float32)
        return np.clip(canvas * rng.uniform(0.6, 1.1) + rng.uniform(-10, 40), 0, 255)

    def _draw_digit(self, digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Enlarge a digit smoothly, turned, slanted and stretched a little: its opacity, cropped, float32 (h, w)."""
        scale = rng.uniform(self.settings.min_height, self.settings.max_height) / digit.shape[0]
        stretch = rng.uniform(0.85, 1.2)
        angle, slant = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(-0.15, 0.15)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # PIL asks for the way back, from pixels of the result to pixels of the source.
        back = np.linalg.inv(turn @ np.array([[1.0, slant], [0.0, 1.0]]) @ np.diag([scale * stretch, scale]))
        side = int(np.ceil(1.8 * scale * digit.shape[0]))
        source = Image.fromarray(np.pad(digit, 4))
        shift = np.array(source.size) / 2 - back @ np.array([side / 2, side / 2])
        affine = (*back[0], shift[0], *back[1], shift[1])
        drawn = source.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        # An enlarged 8x8 digit is a blur; a steep ramp around half the ink gives its strokes an edge again.
        opacity = np.clip((np.asarray(drawn, np.float32) - rng.uniform(0.3, 0.45)) * 4 + 0.5, 0, 1)
        rows, columns = np.nonzero(opacity >= _VISIBLE)
        return opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]

    @staticmethod
    def _paint(patch: np.ndarray, opacity: np.ndarray, rng: np.random.Generator) -> None:
        """Lay a digit over ``patch``, in place, in a random colour that stands out from what it covers."""
        luminance = np.array([0.299, 0.587, 0.114], np.float32)
        covered = (patch @ luminance)[opacity >= _OPAQUE].mean()
        colours = rng.uniform(0, 255, (64, 3)).astype(np.float32)
        contrasts = np.abs(colours @ luminance - covered)
        enough = np.flatnonzero(contrasts >= _MIN_CONTRAST)
        colour = colours[enough[0] if len(enough) else contrasts.argmax()]
        weight = (opacity * rng.uniform(0.8, 1.0))[..., None]
        patch += weight * (colour - patch)


def make_digit_scenes(
    out_dir: Union[str, Path], settings: DigitSceneSettings = DigitSceneSettings(), *, progress: bool = True
) -> bool:
    """Make the set in ``out_dir``, unless it is there already.

    The folder appears under its name only when it is complete. A set of other settings or of an older version, or one
    that has lost files, is replaced. Two processes at once do the work once.

    Args:
        out_dir: Where the set shall be; its parent folders are made.
        settings: What the set is like.
        progress: Whether to show a progress bar.

    Returns:
        Whether the set had to be made.

    Raises:
        FileExistsError: If ``out_dir`` holds something that this function did not make.
    """
    out_dir = Path(out_dir).absolute()
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with _locked(out_dir.parent):
        if _is_complete(out_dir, settings):
            return False
        if out_dir.exists() and not (out_dir / MARKER).is_file() and (out_dir.is_file() or any(out_dir.iterdir())):
            raise FileExistsError(
                f'{out_dir} holds something else than a digit set (it has no {MARKER}); '
                'choose another folder or remove this one'
            )
        partial = out_dir.with_name(f'.{out_dir.name}.partial')
        shutil.rmtree(partial, ignore_errors=True)
        _write_set(partial, settings, progress)
        if out_dir.exists():
            shutil.rmtree(out_dir)
        partial.rename(out_dir)
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's advisory lock; it leaves no file behind and ends with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _description(settings: DigitSceneSettings, num_crops: int) -> Dict[str, int]:
    return {'version': VERSION, 'num_crops': num_crops, **asdict(settings)}


def _is_complete(folder: Path, settings: DigitSceneSettings) -> bool:
    try:
        made = json.loads((folder / MARKER).read_text())
    except (OSError, ValueError):
        return False
    total = sum(settings.num_images(split) for split in SPLITS)
    lists = [folder / 'ImageSets' / task / f'{split}.txt' for task in ('Main', 'Segmentation') for split in SPLITS]
    return (
        made == _description(settings, made.get('num_crops'))
        and len(list((folder / 'Crops').glob('*/*/*.png'))) == made['num_crops']
        and all(path.is_file() for path in lists)
        and all(len(list((folder / name).glob(f'*{suffix}'))) == total for name, suffix in _FOLDERS.items())
    )


def _write_set(folder: Path, settings: DigitSceneSettings, progress: bool) -> None:
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    palette = _voc_palette()
    first = num_crops = 0
    with Progress(disable=not progress) as bar:
        task = bar.add_task('Digit scenes', total=sum(settings.num_images(split) for split in SPLITS))
        for split in SPLITS:
            maker = DigitSceneMaker(split, settings)
            names = [f'{first + index:06d}' for index in range(settings.num_images(split))]
            first += len(names)
            for index, name in enumerate(names):
                scene = maker(index)
                _write_scene(folder, name, scene, palette)
                num_crops += _write_crops(folder / 'Crops' / split, name, scene)
                bar.advance(task)
            for kind in ('Main', 'Segmentation'):
                (folder / 'ImageSets' / kind).mkdir(parents=True, exist_ok=True)
                (folder / 'ImageSets' / kind / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))
    (folder / MARKER).write_text(json.dumps(_description(settings, num_crops), indent=2) + '\n')


def _write_scene(folder: Path, name: str, scene: DigitScene, palette: bytes) -> None:
    Image.fromarray(scene.image).save(folder / 'JPEGImages' / f'{name}.jpg', quality=92)
    mask = Image.fromarray(scene.mask).convert('P')
    mask.putpalette(palette)
    mask.save(folder / 'SegmentationClass' / f'{name}.png')
    root = ElementTree.Element('annotation')
    _add(root, folder='JPEGImages', filename=f'{name}.jpg', segmented=1)
    height, width, depth = scene.image.shape
    _add(ElementTree.SubElement(root, 'size'), width=width, height=height, depth=depth)
    for label, (x1, y1, x2, y2) in scene.objects:
        element = ElementTree.SubElement(root, 'object')
        _add(element, name=CLASSES[label], pose='Unspecified', truncated=0, difficult=0)
        # VOC counts pixels from 1, and both corners lie inside the box.
        _add(ElementTree.SubElement(element, 'bndbox'), xmin=x1 + 1, ymin=y1 + 1, xmax=x2 + 1, ymax=y2 + 1)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(folder / 'Annotations' / f'{name}.xml')


def _write_crops(folder: Path, name: str, scene: DigitScene) -> int:
    for index, (label, box) in enumerate(scene.objects):
        (folder / CLASSES[label]).mkdir(parents=True, exist_ok=True)
        crop_digit(scene.image, box).save(folder / CLASSES[label] / f'{name}_{index}.png')
    return len(scene.objects)


def _add(parent: ElementTree.Element, **children: Union[str, int]) -> None:
    for tag, value in children.items():
        ElementTree.SubElement(parent, tag).text = str(value)


def _voc_palette() -> bytes:
    """Return VOC's colour map: bit 3k + c of a class's number is bit 7 - k of its channel c."""
    numbers = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for k in range(8):
        for channel in range(3):
            palette[:, channel] |= ((numbers >> (3 * k + channel) & 1) << (7 - k)).astype(np.uint8)
    return palette.tobytes()
