import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmrazor.registry import TRANSFORMS

from lckd_mm.dependencies import find_version
from lckd_mm.engine.corruptions import parse_corruptions
from lckd_mm.errors import ConfigKeyError, ConfigRuntimeError, ConfigTypeError, ConfigValueError

from .image_cache import ImageCache

# Of imagecorruptions: smaller images are refused by it.
_MIN_SIZE = 32

PACKAGES = ('imagecorruptions', 'scikit-image', 'numpy', 'scipy', 'Pillow')
"""The packages that the corrupted images depend on."""


@TRANSFORMS.register_module()
class CorruptImage(BaseTransform):
    """Corrupt an image as ImageNet-C does, the same image always in the same way.

    The corruptions are those of the package imagecorruptions. The random numbers depend on the index of the image, the corruption
    and the severity only, so that all models see the same images.

    Required keys:
        ``img``, of shape (H, W, 3) with values from 0 to 255, at least 32 pixels high and wide, and ``sample_idx``, the index, which
        data sets of mmengine set. The image keeps its type.

    Args:
        corruption (str): A name in :data:`lckd_mm.engine.corruptions.CORRUPTIONS`.
        severity (int): From 1 to 5.
        channel_order (str): ``'bgr'``, as OpenMMLab's transforms read images, or ``'rgb'``. Defaults to 'bgr'.
        cache (str, optional): Folder that keeps the corrupted images for further models, with a subfolder for the versions of
            :data:`PACKAGES`. Defaults to None.

    Raises:
        ConfigRuntimeError: imagecorruptions is not installed.
        ConfigValueError: An argument has an unknown value.
    """

    def __init__(self, corruption: str, severity: int, channel_order: str = 'bgr', cache: str | None = None) -> None:
        ((self.corruption, self.severity),) = parse_corruptions([f'{corruption}:{severity}'])
        if channel_order not in ('bgr', 'rgb'):
            raise ConfigValueError(f"channel_order={channel_order!r} is unknown: use 'bgr' or 'rgb'.")
        self.channel_order = channel_order
        self.cache = None if cache is None else ImageCache(_cache_folder(cache) / f'{self.corruption}_{self.severity}')
        check_imagecorruptions()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Corrupt the image of a sample.

        Args:
            results (dict): The sample.

        Returns:
            dict: The same sample.

        Raises:
            ConfigTypeError: There is no image, or it has another shape than (H, W, 3).
            ConfigValueError: The image is smaller than 32 x 32 pixels.
            ConfigKeyError: The sample has no index.
        """
        image = results.get('img')
        if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
            kind = f'an array of shape {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
            raise ConfigTypeError(
                f'CorruptImage received {kind} instead of an image of shape (H, W, 3): place it after the transform that loads the image.'
            )
        if min(image.shape[:2]) < _MIN_SIZE:
            raise ConfigValueError(
                f'an image of {image.shape[0]} x {image.shape[1]} pixels cannot be corrupted, since imagecorruptions needs at least '
                f'{_MIN_SIZE} x {_MIN_SIZE}: evaluate on larger images.'
            )
        if 'sample_idx' not in results:
            raise ConfigKeyError(
                "CorruptImage needs the index of the image as 'sample_idx', which the data set does not set: add it in get_data_info."
            )
        order = -1 if self.channel_order == 'bgr' else 1
        pixels = np.ascontiguousarray(np.clip(np.round(image), 0, 255).astype(np.uint8)[..., ::order])
        index = int(results['sample_idx'])
        corrupted = self._corrupt(pixels, index) if self.cache is None else self.cache.get(pixels, index, self._corrupt)
        results['img'] = np.ascontiguousarray(corrupted[..., ::order]).astype(image.dtype, copy=False)
        return results

    def _corrupt(self, pixels: np.ndarray, index: int) -> np.ndarray:
        from imagecorruptions import corrupt

        with _seeded(index, zlib.crc32(self.corruption.encode()), self.severity):
            return corrupt(pixels, severity=self.severity, corruption_name=self.corruption)

    def __repr__(self) -> str:
        return f'CorruptImage(corruption={self.corruption!r}, severity={self.severity}, channel_order={self.channel_order!r})'


def check_imagecorruptions() -> None:
    """Raise an error if the optional package imagecorruptions is missing.

    Raises:
        ConfigRuntimeError: It cannot be imported.
    """
    try:
        import imagecorruptions  # noqa: F401
    except ImportError as error:
        raise ConfigRuntimeError(
            f'images cannot be corrupted without the package imagecorruptions ({error}): install it with '
            '`pip install scikit-image` and `pip install --no-deps imagecorruptions`, which keeps the installed OpenCV; in a clone with '
            '`pip install --no-deps -r requirements/robustness.txt`.'
        ) from error


def _cache_folder(cache: str) -> Path:
    versions = repr([find_version(name) for name in PACKAGES])
    return Path(cache) / hashlib.blake2b(versions.encode(), digest_size=8).hexdigest()


@contextmanager
def _seeded(*seed: int) -> Iterator[None]:
    """Seed numpy's global generator, which imagecorruptions uses, and restore it afterwards."""
    state = np.random.get_state()
    # A seed of several integers is mixed by the generator itself (MT19937 by init_by_array).
    np.random.seed(list(seed))
    try:
        yield
    finally:
        np.random.set_state(state)
