"""The rules that derive height and width of tokens from the size of the images."""

import pytest

from lckd_mm.models.distillers.token_grids import TokenGrids
from lckd_mm.spectral import Grid


def _count(stride: tuple, rounds_up: bool, num_prefix: int, size: tuple) -> int:
    grid = [-(-n // s) if rounds_up else n // s for n, s in zip(size, stride)]
    return grid[0] * grid[1] + num_prefix


PROBES = [(128, 128), (128, 192), (129, 127)]


@pytest.mark.parametrize('rounds_up', [True, False])
@pytest.mark.parametrize('num_prefix', [0, 1, 5, 50])
@pytest.mark.parametrize('stride', [4, 7, 8, 14, 16, 32])
def test_three_images_determine_the_grid_of_every_size(stride: int, num_prefix: int, rounds_up: bool) -> None:
    grids = TokenGrids()
    for size in PROBES:
        grids.observe('tap', _count((stride, stride), rounds_up, num_prefix, size), size)
    for height, width in [(64, 144), (800, 1333), (513, 1025), (97, 33), (32, 288)]:
        num_tokens = _count((stride, stride), rounds_up, num_prefix, (height, width))
        grid = grids.find('tap', num_tokens, (height, width))
        assert grid is not None
        assert (grid.height * stride - height) in range(-stride + 1, stride)
        assert grid.num_prefix == num_prefix
        assert grid.num_positions == num_tokens
        assert grids.find('tap', num_tokens + 1, (height, width)) is None


def test_patches_that_are_not_square_are_not_taken_for_square_ones() -> None:
    # At 128 x 128 pixels, 16 x 4 has as many patches as 8 x 8.
    for stride in ((16, 4), (4, 16), (16, 8), (32, 8)):
        for rounds_up in (False, True):
            grids = TokenGrids()
            for size in PROBES:
                grids.observe('tap', _count(stride, rounds_up, 0, size), size)
            assert grids.find('tap', _count(stride, rounds_up, 0, (128, 256)), (128, 256)) is None


def test_a_model_of_one_image_size_has_the_grid_of_its_patch_map() -> None:
    grids = TokenGrids()
    grids.observe('tap', 197, (224, 224))
    assert grids.find('tap', 197, (224, 224)) is None
    grids.prefer([(14, 14), (1, 1)], (224, 224))
    assert grids.find('tap', 197, (224, 224)) == Grid(14, 14, 1)
