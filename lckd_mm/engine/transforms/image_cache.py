"""Images that are computed once and read by several processes."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

# Share of the disk that stays free for checkpoints and other programs.
_FREE_SHARE = 0.1
# Number of images between two looks at the disk.
_LOOK_INTERVAL = 100


class ImageCache:
    """A folder of computed images, one PNG file each.

    Several processes may use the folder at a time. A damaged file is computed again. While less than a tenth of the disk is free,
    no further image is kept.

    Args:
        folder (Path): The folder; it is created with the first image.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     cache = ImageCache(Path(folder))
        ...     black = cache.get(np.ones((2, 2, 3), np.uint8), 0, lambda pixels, index: 0 * pixels)
        ...     again = cache.get(np.ones((2, 2, 3), np.uint8), 0, lambda pixels, index: 1 / 0)
        >>> bool((black == again).all())
        True
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._num_computed = 0
        self._has_space = True

    def get(self, pixels: np.ndarray, index: int, compute: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """Return ``compute(pixels, index)``, from the folder if it was computed before.

        Args:
            pixels (ndarray): The original image, (H, W, 3), uint8.
            index (int): Index of the image, on which the result depends as well.
            compute (Callable): Computes the image, (H, W, 3), uint8.

        Returns:
            ndarray: The image.
        """
        key = hashlib.blake2b(repr((pixels.shape, index)).encode() + pixels.tobytes(), digest_size=16).hexdigest()
        path = self.folder / key[:2] / f'{key}.png'
        image = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
        if image is None:
            image = compute(pixels, index)
            self._write(path, image)
        return image

    def _write(self, path: Path, image: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._num_computed % _LOOK_INTERVAL == 0:
            usage = shutil.disk_usage(path.parent)
            self._has_space = usage.free >= _FREE_SHARE * usage.total
        self._num_computed += 1
        if not self._has_space:
            return
        temporary = path.with_suffix(f'.{os.getpid()}.tmp')
        _, data = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        temporary.write_bytes(data.tobytes())
        temporary.replace(path)
