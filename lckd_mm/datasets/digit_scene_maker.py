import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lckd_mm.errors import ConfigValueError, unknown_name

from .digit_object import CLASSES, DigitObject
from .digit_scene import VOID, DigitScene
from .digit_scene_settings import SPLITS, DigitSceneSettings

# The fraction of the digits that belongs to each split.
_FRACTIONS = {'train': 0.6, 'val': 0.2, 'test': 0.2}
# The strip of each photograph that a split uses, as fractions of the width. Validation and test share theirs, because
# narrower strips would show nothing but leaves.
_STRIPS = {'train': (0.0, 0.55), 'val': (0.55, 1.0), 'test': (0.55, 1.0)}

_OPAQUE = 0.5  # Minimum opacity of the pixels of a digit, in the mask and in the box.
_VISIBLE = 0.15  # Minimum opacity of the pixels that are void in the mask, like VOC's contours.
_MIN_CONTRAST = 60.0  # Minimum difference of luminance (0 to 255) between a digit and the pixels that it covers.
_MAX_PLACEMENT_TRIALS = 40
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # The weights of R, G and B in ITU-R BT.601.


def split_digits(seed: int) -> dict[str, NDArray[np.int64]]:
    """Distribute scikit-learn's digits over the splits, with the same proportions for each class.

    Args:
        seed (int): Seed of the random order.

    Returns:
        dict[str, NDArray]: For each split, indices into ``sklearn.datasets.load_digits()``. The splits are disjoint.

    Example:
        >>> {split: len(indices) for split, indices in split_digits(seed=0).items()}
        {'train': 1078, 'val': 359, 'test': 360}
    """
    from sklearn.datasets import load_digits

    targets = load_digits().target
    rng = np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in SPLITS}
    for label in range(len(CLASSES)):
        indices = rng.permutation(np.flatnonzero(targets == label))
        bounds = np.cumsum([round(_FRACTIONS[split] * len(indices)) for split in SPLITS[:-1]])
        for split, part in zip(SPLITS, np.split(indices, bounds), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


class DigitSceneMaker:
    """Generator of the scenes of one split.

    Args:
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        settings (DigitSceneSettings): The options of the set.

    Raises:
        ConfigValueError: The split is unknown.

    Example:
        >>> scene = DigitSceneMaker('train', DigitSceneSettings(seed=0))(0)
        >>> scene.image.shape
        (160, 160, 3)
    """

    def __init__(self, split: str, settings: DigitSceneSettings) -> None:
        from sklearn.datasets import load_digits, load_sample_images

        if split not in SPLITS:
            raise ConfigValueError(unknown_name('split', split, SPLITS))
        self.split = split
        self.settings = settings
        digits = load_digits()
        indices = split_digits(settings.seed)[split]
        # The gray values of scikit-learn's digits are 0 to 16.
        self.digits: NDArray[np.float32] = digits.images[indices].astype(np.float32) / 16.0
        self.labels: NDArray[np.int64] = digits.target[indices]
        start, stop = _STRIPS[split]
        self.photographs: list[NDArray[np.uint8]] = []
        for photograph in load_sample_images().images:
            width = photograph.shape[1]
            self.photographs.append(photograph[:, round(start * width) : round(stop * width)])

    def __call__(self, index: int) -> DigitScene:
        """Generate a scene. The same index always gives the same scene.

        Args:
            index (int): Index of the scene in the split.

        Returns:
            DigitScene: The scene.
        """
        settings = self.settings
        rng = np.random.default_rng([settings.seed, SPLITS.index(self.split), index])
        canvas = self._make_background(rng)
        mask = np.zeros(canvas.shape[:2], np.uint8)
        objects: list[DigitObject] = []
        num_digits = int(rng.integers(settings.min_digits, settings.max_digits + 1))
        for _ in range(num_digits):
            digit_index = int(rng.integers(len(self.digits)))
            opacity = self._draw_digit(self.digits[digit_index], rng)
            position = _find_free_position(mask, opacity.shape, rng)
            if position is None:
                continue
            top, left = position
            frame = (slice(top, top + opacity.shape[0]), slice(left, left + opacity.shape[1]))
            _blend(canvas[frame], opacity, rng)
            label = int(self.labels[digit_index])
            mask[frame][opacity >= _VISIBLE] = VOID
            mask[frame][opacity >= _OPAQUE] = 1 + label
            rows, columns = np.nonzero(opacity >= _OPAQUE)
            x1, y1 = left + int(columns.min()), top + int(rows.min())
            x2, y2 = left + int(columns.max()), top + int(rows.max())
            objects.append(DigitObject(label, (x1, y1, x2, y2)))
        return DigitScene(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), mask, objects)

    def _make_background(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a random square of a photograph with random brightness, resized to (image_size, image_size, 3)."""
        photograph = self.photographs[rng.integers(len(self.photographs))]
        height, width = photograph.shape[:2]
        side = int(rng.integers(min(height, width) // 2, min(height, width) + 1))
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        square = photograph[top : top + side, left : left + side]
        if rng.random() < 0.5:
            square = square[:, ::-1]
        size = self.settings.image_size
        resized = Image.fromarray(np.ascontiguousarray(square)).resize((size, size), Image.Resampling.BICUBIC)
        canvas = np.asarray(resized, np.float32)
        return np.clip(canvas * rng.uniform(0.6, 1.1) + rng.uniform(-10, 40), 0, 255)

    def _draw_digit(self, digit: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Enlarge, rotate, shear and stretch a digit; return its opacity, (h, w), cropped to the visible pixels."""
        scale = rng.uniform(self.settings.min_height, self.settings.max_height) / digit.shape[0]
        stretch = rng.uniform(0.85, 1.2)
        angle, shear = np.deg2rad(rng.uniform(-12, 12)), rng.uniform(-0.15, 0.15)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # PIL takes the inverse transform, from pixels of the result to pixels of the source.
        inverse = np.linalg.inv(rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([scale * stretch, scale]))
        side = int(np.ceil(1.8 * scale * digit.shape[0]))
        source = Image.fromarray(np.pad(digit, 4))
        shift = np.array(source.size) / 2 - inverse @ np.array([side / 2, side / 2])
        affine = (*inverse[0], shift[0], *inverse[1], shift[1])
        drawn = source.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
        # An enlarged digit of 8 x 8 pixels is blurred. A steep ramp around half the opacity restores the edges of its strokes.
        opacity = np.clip((np.asarray(drawn, np.float32) - rng.uniform(0.3, 0.45)) * 4 + 0.5, 0, 1)
        rows, columns = np.nonzero(opacity >= _VISIBLE)
        return opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _find_free_position(
    mask: NDArray[np.uint8], size: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return the top left corner of a random empty frame of this size (height, width), if a trial finds one."""
    height, width = size
    for _ in range(_MAX_PLACEMENT_TRIALS):
        top = int(rng.integers(0, mask.shape[0] - height + 1))
        left = int(rng.integers(0, mask.shape[1] - width + 1))
        if not mask[top : top + height, left : left + width].any():
            return top, left
    return None


def _blend(patch: NDArray[np.float32], opacity: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Draw a digit onto ``patch``, in place, in a random color that contrasts with the pixels that it covers."""
    covered_luminance = (patch @ _LUMINANCE)[opacity >= _OPAQUE].mean()
    colors = rng.uniform(0, 255, (64, 3)).astype(np.float32)
    contrasts = np.abs(colors @ _LUMINANCE - covered_luminance)
    sufficient = np.flatnonzero(contrasts >= _MIN_CONTRAST)
    color = colors[sufficient[0] if len(sufficient) else contrasts.argmax()]
    weight = (opacity * rng.uniform(0.8, 1.0))[..., None]
    patch += weight * (color - patch)
