import numpy as np
import pytest
import torch
from scipy import interpolate

import lckd_mm  # noqa: F401  (applies the patches)


@pytest.mark.parametrize(('kind', 'power'), [('linear', 1), ('cubic', 3)])
def test_spline_reproduces_polynomials_of_its_degree(kind: str, power: int) -> None:
    x, y = np.array([-5.0, -2, 0, 1, 4, 6]), np.array([-3.0, -1, 0, 2, 5])
    x_new, y_new = np.array([-4.5, 0.5, 5]), np.array([-2.0, 1])

    def values(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x[None] ** power + 2) * (y[:, None] ** power - 1)

    spline = interpolate.interp2d(x, y, values(x, y), kind=kind)
    np.testing.assert_allclose(spline(x_new, y_new), values(x_new, y_new), rtol=1e-9, atol=1e-9)


def _sizes() -> tuple[int, int, torch.Tensor]:
    # The bias table of a window of 7 x 7 patches has 13 x 13 entries; it is resized to 12 x 12 patches.
    grid = torch.linspace(-1, 1, 13)
    return 13, 23, torch.stack([(grid[:, None] + 2 * grid[None]).flatten(), torch.ones(169)], dim=1)


def check(resized: torch.Tensor) -> None:
    assert resized.shape == (529, 2)
    torch.testing.assert_close(resized[:, 1], torch.ones(529))
    center = resized[:, 0].view(23, 23)
    # The table is odd, and increases along both axes.
    torch.testing.assert_close(center, -center.flip(0, 1), atol=1e-5, rtol=0)
    assert (center.diff(dim=0) > 0).all()
    assert (center.diff(dim=1) > center.diff(dim=0).T).all()


def test_mmpretrain_resizes_relative_positions() -> None:
    from mmpretrain.models.utils import resize_relative_position_bias_table

    source, target, table = _sizes()
    check(resize_relative_position_bias_table(source, target, table, 2))


def test_mmseg_resizes_relative_positions() -> None:
    from mmseg.models.backbones import BEiT

    source, target, table = _sizes()
    check(BEiT._geometric_sequence_interpolation(None, source, target, table, 2))
