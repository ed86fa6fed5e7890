"""Patch of SciPy."""

from typing import Any

import numpy as np

from .patching import patch


def _interp2d_is_removed() -> bool:
    from scipy import interpolate

    try:
        interpolate.interp2d([0, 1], [0, 1], [[0, 1], [1, 2]])
    except NotImplementedError:
        return True
    return False


@patch(
    'scipy.interpolate',
    'interp2d',
    library='scipy',
    versions='>=1.14',
    issue='none known',
    reason='BEiT and Swin of mmseg and mmpretrain do not load a checkpoint of another window size: SciPy 1.14 removed interp2d, and its '
    'placeholder only raises an error',
    until='mmseg and mmpretrain use RectBivariateSpline',
    is_needed=_interp2d_is_removed,
)
def scipy_interp2d(_: type) -> type:
    """Replace the placeholder by SciPy's recommendation for regular grids.

    Source: https://scipy.github.io/devdocs/tutorial/interpolate/interp_transition_guide.html
    """
    return _RegularGridSpline


class _RegularGridSpline:
    """Replaces `interp2d` for values on a regular grid, as which mmseg and mmpretrain use it."""

    def __init__(self, x: Any, y: Any, z: Any, kind: str = 'linear') -> None:
        from scipy.interpolate import RectBivariateSpline

        degree = {'linear': 1, 'cubic': 3, 'quintic': 5}[kind]
        self._spline = RectBivariateSpline(x, y, np.reshape(z, (len(y), len(x))).T, kx=degree, ky=degree)

    def __call__(self, x: Any, y: Any) -> np.ndarray:
        return np.asarray(self._spline(x, y)).T
