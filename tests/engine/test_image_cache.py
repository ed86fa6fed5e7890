import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from lckd_mm.engine import CorruptImage
from lckd_mm.engine.transforms import corrupt_image, image_cache
from lckd_mm.engine.transforms.image_cache import ImageCache

RANDOM = np.random.default_rng(0)
IMAGE, OTHER = (RANDOM.integers(0, 256, (40, 33, 3), dtype=np.uint8) for _ in range(2))


class Inverse:
    """A computation that counts its calls."""

    calls = 0

    def __call__(self, pixels: np.ndarray, index: int) -> np.ndarray:
        self.calls += 1
        return 255 - pixels + np.uint8(index)


def test_an_image_is_computed_once_and_read_without_loss(tmp_path: Path) -> None:
    inverse = Inverse()
    for _ in range(2):
        # Another process has another object.
        cache = ImageCache(tmp_path / 'images')
        for pixels, index in ((IMAGE, 0), (IMAGE, 1), (OTHER, 0), (IMAGE.reshape(33, 40, 3), 0)):
            np.testing.assert_array_equal(cache.get(pixels, index, inverse), 255 - pixels + np.uint8(index))
    assert inverse.calls == 4
    assert all(path.suffix == '.png' for path in tmp_path.rglob('*') if path.is_file())


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_a_damaged_file_is_computed_again(tmp_path: Path, content: bytes | None) -> None:
    ImageCache(tmp_path).get(IMAGE, 0, Inverse())
    (path,) = tmp_path.rglob('*.png')
    complete = path.read_bytes()
    path.write_bytes(complete[: len(complete) // 2] if content is None else content)
    np.testing.assert_array_equal(ImageCache(tmp_path).get(IMAGE, 0, Inverse()), 255 - IMAGE)
    assert path.read_bytes() == complete


def test_no_image_is_kept_on_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple('usage', ['total', 'used', 'free'])
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(1000, 901, 99))
    np.testing.assert_array_equal(ImageCache(tmp_path).get(IMAGE, 0, Inverse()), 255 - IMAGE)
    assert not list(tmp_path.rglob('*.*'))
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage(1000, 900, 100))
    ImageCache(tmp_path).get(IMAGE, 0, Inverse())
    assert len(list(tmp_path.rglob('*.png'))) == 1


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail(pixels: np.ndarray, index: int) -> np.ndarray:
        raise RuntimeError('no computation')

    with pytest.raises(RuntimeError, match='no computation'):
        ImageCache(tmp_path).get(IMAGE, 0, fail)
    assert not list(tmp_path.rglob('*.*'))


def test_the_free_space_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    usage = namedtuple('usage', ['total', 'free'])
    monkeypatch.setattr(image_cache, '_LOOK_INTERVAL', 2)
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: looks.append(path) or usage(10, 5 if len(looks) == 1 else 0))
    cache = ImageCache(tmp_path)
    for index in range(4):
        cache.get(IMAGE, index, Inverse())
    assert (len(looks), len(list(tmp_path.rglob('*.png')))) == (2, 2)


@pytest.mark.parametrize('order', ['bgr', 'rgb'])
def test_corrupted_images_are_the_same_with_a_cache(tmp_path: Path, order: str) -> None:
    pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')
    for dtype in (np.uint8, np.float32):
        for name, severity in (('gaussian_noise', 3), ('frost', 1), ('frost', 2)):
            options = dict(corruption=name, severity=severity, channel_order=order)
            expected = CorruptImage(**options)(dict(img=IMAGE.astype(dtype), sample_idx=7))['img']
            for _ in range(2):
                transform = CorruptImage(**options, cache=str(tmp_path))
                image = transform(dict(img=IMAGE.astype(dtype), sample_idx=7))['img']
                np.testing.assert_array_equal(image, expected)
                assert image.dtype == dtype
    assert len(list(tmp_path.rglob('*.png'))) == 3


def test_images_of_other_package_versions_are_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('imagecorruptions', reason='imagecorruptions is not installed')
    for version in ('1.1.2', '1.2.0'):
        monkeypatch.setattr(corrupt_image, 'find_version', lambda name, version=version: version)
        transform = CorruptImage('fog', 1, cache=str(tmp_path))
        transform(dict(img=IMAGE.copy(), sample_idx=0))
    assert len(list(tmp_path.rglob('*.png'))) == 2
