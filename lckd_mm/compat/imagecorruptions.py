"""Patches of imagecorruptions 1.1.2, the optional package of the corruptions of ImageNet-C."""

import contextlib
import inspect
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .patching import NumpyWith, patch


def _resource_filename(module: str, name: str) -> str:
    return str(Path(str(sys.modules[module].__file__)).parent / name)


@patch(
    library='imagecorruptions',
    versions='>=1.1,<=1.1.2',
    issue='none known',
    reason='imagecorruptions cannot be imported: it imports pkg_resources, which setuptools 81 removed and before warns of, and '
    'scipy.ndimage.interpolation, which SciPy 2 removes',
    until='an imagecorruptions after 1.1.2 imports neither',
)
def imagecorruptions_import() -> None:
    """Import the package with modules of the removed names."""
    from scipy import ndimage

    resources, interpolation = (types.ModuleType(name) for name in ('pkg_resources', 'scipy.ndimage.interpolation'))
    resources.resource_filename = _resource_filename  # type: ignore[attr-defined]
    interpolation.map_coordinates = ndimage.map_coordinates  # type: ignore[attr-defined]
    replacements = {module.__name__: module for module in (resources, interpolation)}
    before = {name: sys.modules.get(name) for name in replacements}
    sys.modules.update(replacements)
    try:
        # Without scikit-image, the transform that corrupts images reports the error.
        with contextlib.suppress(ImportError):
            import imagecorruptions  # noqa: F401
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _is_imported() -> bool:
    return 'imagecorruptions.corruptions' in sys.modules


def _is_multichannel_removed() -> bool:
    if not _is_imported():
        return False
    from skimage.filters import gaussian

    return 'multichannel' not in inspect.signature(gaussian).parameters


@patch(
    'imagecorruptions.corruptions',
    'gaussian',
    library='imagecorruptions',
    versions='>=1.1,<=1.1.2',
    issue='none known',
    reason="gaussian_blur and glass_blur: gaussian() got an unexpected keyword argument 'multichannel', which scikit-image 0.23 removed",
    until='an imagecorruptions after 1.1.2 uses channel_axis',
    is_needed=_is_multichannel_removed,
)
def imagecorruptions_gaussian(original: Callable[..., Any]) -> Callable[..., Any]:
    """Accept `multichannel`."""

    def gaussian(*args: Any, multichannel: bool = False, **kwargs: Any) -> Any:
        return original(*args, **kwargs, channel_axis=-1 if multichannel else None)

    return gaussian


@patch(
    'imagecorruptions.corruptions',
    'np',
    library='imagecorruptions',
    versions='>=1.1,<=1.1.2',
    issue='none known',
    reason='fog: `np.float_` was removed in the NumPy 2.0 release',
    until='an imagecorruptions after 1.1.2 uses float64',
    is_needed=lambda: _is_imported() and not hasattr(np, 'float_'),
)
def imagecorruptions_float(_: types.ModuleType) -> types.ModuleType:
    """Let ``np.float_`` be ``np.float64``, as it was."""
    return NumpyWith(float_=np.float64)


@patch(
    'imagecorruptions.corruptions:sk.util',
    'random_noise',
    library='imagecorruptions',
    versions='>=1.1,<=1.1.2',
    issue='none known',
    reason="impulse_noise differs with each call, whatever the seed of numpy is: scikit-image 0.20 replaced numpy's global generator in "
    'random_noise by a new one',
    until='an imagecorruptions after 1.1.2 passes a generator',
    is_needed=_is_imported,
)
def imagecorruptions_impulse_noise(original: Callable[..., Any]) -> Callable[..., Any]:
    """Seed the generator from numpy's global one, unless another generator is passed."""

    def random_noise(image: Any, mode: str = 'gaussian', rng: Any = None, **kwargs: Any) -> Any:
        return original(image, mode, np.random.randint(2**31) if rng is None else rng, **kwargs)

    return random_noise
