import sys

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from lckd_mm.engine import CorruptImage
from lckd_mm.engine.corruptions import CORRUPTIONS
from lckd_mm.errors import ConfigKeyError, ConfigRuntimeError, ConfigTypeError, ConfigValueError

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 32, 3), dtype=np.uint8)


def corrupt(index: int = 0, image: np.ndarray = IMAGE, **options: object) -> np.ndarray:
    pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')
    options = dict(corruption='gaussian_noise', severity=3) | options
    return CorruptImage(**options)(dict(img=image.copy(), sample_idx=index))['img']


def test_random_numbers_depend_on_image_corruption_and_severity_only() -> None:
    first = corrupt()
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(first, corrupt())
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    noise = [first.astype(int) - IMAGE] + [
        corrupt(**change).astype(int) - IMAGE
        for change in (dict(index=1), dict(severity=4), dict(corruption='speckle_noise'))
    ]
    # Independent noise is uncorrelated over 3840 values.
    correlations = np.corrcoef([values.ravel() for values in noise])
    assert np.abs(correlations - np.eye(4)).max() < 0.1


def test_corruptions_see_the_channels_in_the_order_rgb() -> None:
    from_rgb = corrupt(corruption='frost', channel_order='rgb')
    from_bgr = corrupt(corruption='frost', image=np.ascontiguousarray(IMAGE[..., ::-1]))
    np.testing.assert_array_equal(from_rgb, from_bgr[..., ::-1])


def test_float_images_keep_their_type() -> None:
    corrupted = corrupt(image=IMAGE.astype(np.float32))
    assert corrupted.dtype == np.float32
    np.testing.assert_array_equal(corrupted, corrupt())


def test_names_are_those_of_the_package() -> None:
    package = pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')
    assert list(CORRUPTIONS) == package.get_corruption_names('all')


@pytest.mark.parametrize(
    ('sample', 'error', 'message'),
    [
        (dict(img=IMAGE[:31], sample_idx=0), ConfigValueError, '31 x 32 pixels cannot be corrupted'),
        (dict(img=IMAGE[..., 0], sample_idx=0), ConfigTypeError, r'an array of shape \(40, 32\)'),
        (dict(sample_idx=0), ConfigTypeError, 'received NoneType'),
        (dict(img=IMAGE), ConfigKeyError, 'sample_idx'),
    ],
)
def test_wrong_samples_are_refused_in_one_sentence(sample: dict, error: type, message: str) -> None:
    pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')
    with pytest.raises(error, match=message):
        CorruptImage('fog', 1)(sample)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(corruption='fogg', severity=1), "'fogg' is unknown.*did you mean 'fog'"),
        (dict(corruption='fog', severity=6), "severity '6' is not an integer from 1 to 5"),
        (dict(corruption='fog', severity=1, channel_order='gbr'), "channel_order='gbr'"),
    ],
)
def test_wrong_arguments_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigValueError, match=message):
        TRANSFORMS.build(dict(type='mmrazor.CorruptImage', **options))


def test_missing_package_is_reported_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'imagecorruptions', None)
    with pytest.raises(ConfigRuntimeError, match=r'pip install --no-deps imagecorruptions'):
        CorruptImage('fog', 1)


def test_a_folder_for_corrupted_images_needs_corruptions() -> None:
    from lckd_mm.cli.test import main

    with pytest.raises(ConfigValueError, match='--corrupted-images keeps corrupted images, but there are none'):
        main(['config.py', 'student.pth', '--corrupted-images', 'images'])
