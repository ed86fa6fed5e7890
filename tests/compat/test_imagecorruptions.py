import numpy as np
import pytest

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.compat import PATCHES

from ..helpers.processes import run_with_compat

imagecorruptions = pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def corrupt(name: str, severity: int, seed: int = 0) -> np.ndarray:
    np.random.seed(seed)
    return imagecorruptions.corrupt(IMAGE, corruption_name=name, severity=severity)


@pytest.mark.parametrize('name', imagecorruptions.get_corruption_names('all'))
def test_all_corruptions_run_and_follow_the_seed(name: str) -> None:
    for severity in (1, 5):
        corrupted = corrupt(name, severity)
        assert corrupted.shape == IMAGE.shape
        assert corrupted.dtype == np.uint8
        assert (corrupted != IMAGE).any()
        np.testing.assert_array_equal(corrupted, corrupt(name, severity))


def test_impulse_noise_replaces_the_published_share_of_values_by_black_and_white() -> None:
    corrupted = corrupt('impulse_noise', 3)
    changed = corrupted != IMAGE
    assert changed.mean() == pytest.approx(0.09, abs=0.02)
    assert set(np.unique(corrupted[changed])) == {0, 255}
    assert (corrupt('impulse_noise', 3, seed=1) != corrupted).any()


def test_gaussian_blur_does_not_mix_the_channels() -> None:
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[..., 1] = IMAGE[:, :32, 1]
    blurred = imagecorruptions.corrupt(image, corruption_name='gaussian_blur', severity=1)
    assert blurred[..., [0, 2]].max() == 0
    assert blurred[..., 1].std() < image[..., 1].std() / 2


def test_fog_is_the_same_as_with_the_removed_name_of_numpy() -> None:
    assert PATCHES['imagecorruptions_float'].is_applied is (not hasattr(np, 'float_'))
    # Fog adds the same height map to all channels, and lifts the mean of a dark image.
    dark = np.zeros((32, 32, 3), dtype=np.uint8)
    dark[0, 0] = 255
    foggy = imagecorruptions.corrupt(dark, corruption_name='fog', severity=5)
    np.testing.assert_array_equal(foggy[..., 0], foggy[..., 2])
    assert foggy.mean() > 50


def test_package_is_imported_without_the_removed_modules() -> None:
    blocked = "import scipy.ndimage; sys.modules.update({'pkg_resources': None, 'scipy.ndimage.interpolation': None})"
    check = (
        "compat._apply_to('imagecorruptions'); import imagecorruptions; assert sys.modules.get('pkg_resources') is None"
    )
    # `frost` reads its images with pkg_resources.
    frost = "import numpy as np; imagecorruptions.corrupt(np.zeros((32, 32, 3), np.uint8), 1, 'frost')"
    done = run_with_compat(f'{blocked}; {check}; {frost}')
    assert done.returncode == 0, done.stderr


def test_package_without_scikit_image_does_not_stop_the_import() -> None:
    done = run_with_compat(
        "sys.modules['skimage'] = None; compat._apply_to('imagecorruptions'); assert 'imagecorruptions' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
