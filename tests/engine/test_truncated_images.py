import io
import logging
import os
from pathlib import Path
from typing import Any

import mmengine.fileio
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.logging import MMLogger
from PIL import Image, ImageFile
from torch.utils.data import DataLoader

from lckd_mm.engine.sample_errors import SampleError, name_unreadable_samples
from lckd_mm.engine.truncated_images import TruncatedImages, is_truncated, truncated_reads

from ..scripts.toy_training import make_runner


def encoded(kind: str = 'JPEG', size: int = 40, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG whose header contains another one, as cameras write it."""
    thumbnail = b'Exif\0\0' + encoded(size=8)
    image = encoded()
    return image[:2] + b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail + image[2:]


IMAGES = {
    'jpeg': encoded(),
    'progressive': encoded(progressive=True),
    'restart markers': encoded(restart_marker_blocks=2),
    'thumbnail': with_thumbnail(),
    'fill bytes': encoded().replace(b'\xff\xdb', b'\xff\xff\xff\xdb', 1),
    'png': encoded('PNG'),
    'interlaced gray png': encoded('PNG', optimize=True),
}


@pytest.mark.parametrize('name', IMAGES)
@pytest.mark.parametrize('trailer', [b'', b'\0' * 5000, b'\n', b'SEFT' * 100])
def test_complete_files_with_or_without_a_trailer_are_accepted(name: str, trailer: bytes) -> None:
    assert not is_truncated(IMAGES[name] + trailer)


@pytest.mark.parametrize('name', IMAGES)
@pytest.mark.parametrize('share', [0.5, 0.75, 0.99])
def test_files_without_their_end_are_truncated(name: str, share: float) -> None:
    content = IMAGES[name]
    assert is_truncated(content[: int(len(content) * share)])


@pytest.mark.parametrize('content', [b'', b'\xff', b'GIF89a', encoded('BMP')[:50], encoded('TIFF')[:50], b'{"a": 1}'])
def test_other_files_are_never_truncated(content: bytes) -> None:
    assert not is_truncated(content)


class Photographs(BaseDataset):
    def __init__(self, folder: Path, **kwargs: Any) -> None:
        self.folder = folder
        super().__init__(pipeline=[LoadImageFromFile(imdecode_backend='pillow')], **kwargs)

    def load_data_list(self) -> list[dict]:
        return [dict(img_path=str(path)) for path in sorted(self.folder.glob('*.jpg'))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two complete images and two truncated ones."""
    path = tmp_path / 'images'
    path.mkdir()
    for index in range(4):
        content = encoded()
        (path / f'{index}.jpg').write_bytes(content[: len(content) // 2] if index % 2 else content + b'\0' * 9)
    return path


@pytest.fixture
def _decode_truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode truncated files without an error, as OpenCV 4 does; OpenCV 5 rejects them."""
    monkeypatch.setattr(ImageFile, 'LOAD_TRUNCATED_IMAGES', True)


@pytest.mark.usefixtures('_decode_truncated')
@pytest.mark.parametrize('num_workers', [0, 1])
def test_each_truncated_file_is_listed_once_over_workers_and_epochs(
    folder: Path, num_workers: int, tmp_path: Path
) -> None:
    dataset = RepeatDataset(Photographs(folder), 3)
    images = TruncatedImages(str(tmp_path / 'log' / 'truncated_images.txt'))
    name_unreadable_samples(dataset, images)
    for _ in range(2):
        context = 'fork' if num_workers else None
        loader = DataLoader(dataset, 1, num_workers=num_workers, multiprocessing_context=context, collate_fn=list)
        assert len(list(loader)) == 12
    assert images.paths() == [str(folder / '1.jpg'), str(folder / '3.jpg')]
    # The worker of the second epoch has not seen those of the first.
    assert (tmp_path / 'log' / 'truncated_images.txt').read_text().splitlines() == images.paths()


@pytest.mark.usefixtures('_decode_truncated')
def test_a_truncated_file_is_logged_once_with_its_path(folder: Path) -> None:
    dataset = Photographs(folder)
    name_unreadable_samples(dataset)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        for index in (0, 1, 1, 2):
            assert dataset[index]['img'].shape == (40, 40, 3)
    finally:
        logger.removeHandler(handler)
    (message,) = messages
    assert f'{str(folder / "1.jpg")!r} is truncated' in message
    assert 'replace the file, or remove it' in message


def test_the_error_of_a_decoder_states_that_the_end_is_missing(folder: Path) -> None:
    dataset = Photographs(folder)
    name_unreadable_samples(dataset)
    with pytest.raises(SampleError, match=r"sample 1 .*the end of the file '.*1.jpg' is missing; OSError"):
        dataset[1]
    assert dataset[0]['img'].shape == (40, 40, 3)


def test_reads_outside_the_context_are_not_checked(folder: Path) -> None:
    path = str(folder / '1.jpg')
    with truncated_reads() as paths:
        mmengine.fileio.get(path)
    mmengine.fileio.get(path)
    assert paths == [path]


def test_reads_of_other_backends_are_checked(folder: Path) -> None:
    class Archive(BaseStorageBackend):
        def get(self, filepath: str) -> bytes:
            return IMAGES['png'][:40]

        def get_text(self, filepath: str) -> str:
            raise NotImplementedError

    register_backend('archive_of_a_test', Archive, force=True)
    with truncated_reads() as paths:
        mmengine.fileio.get('archive://7.png', backend_args=dict(backend='archive_of_a_test'))
    assert paths == ['archive://7.png']


def _to_toy_sample(results: dict) -> dict:
    return dict(inputs=torch.tensor(results['img'][0, 0, :2].tolist()) / 255, labels=torch.zeros(1))


@pytest.mark.usefixtures('_decode_truncated')
def test_a_training_counts_the_truncated_files_at_its_end(folder: Path, tmp_path: Path) -> None:
    dataset = Photographs(folder)
    dataset.pipeline.transforms.append(_to_toy_sample)
    loader = dict(dataset=dataset, batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    runner = make_runner(
        tmp_path / 'work', train_dataloader=loader, custom_hooks=[dict(type='mmrazor.SampleErrorHook')]
    )
    runner.train()
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert log.count('is truncated') == 2
    assert 'truncated image files that were read: 2' in log
    listed = Path(runner.log_dir, 'truncated_images.txt').read_text().split()
    assert [os.path.basename(path) for path in listed] == ['1.jpg', '3.jpg']
