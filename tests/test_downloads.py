"""Downloads from a server on this machine: verified by the hash in their names, and complete under their names."""

import functools
import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.checkpoint import CheckpointError, UnreadableCheckpointError
from lckd_mm.downloads import download, hash_in_name
from lckd_mm.errors import ConfigRuntimeError
from tests.helpers.small_classifiers import build_distillation


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home' / 'hub' / 'checkpoints'


@pytest.fixture
def server(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the folder `files`."""
    (tmp_path / 'files').mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / 'files'))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *_: None)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def publish(folder: Path, stem: str = 'resnet_20200130', state: dict | None = None) -> str:
    """Write a checkpoint named as OpenMMLab names it, and return the name."""
    file = io.BytesIO()
    torch.save(dict(state_dict=state or dict(weight=torch.ones(2))), file)
    name = f'{stem}-{hashlib.sha256(file.getvalue()).hexdigest()[:8]}.pth'
    (folder / 'files' / name).write_bytes(file.getvalue())
    return name


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_with_the_hash_of_its_name_is_loaded_and_kept(server: str, cache: Path, tmp_path: Path) -> None:
    name = publish(tmp_path)
    loaded = CheckpointLoader.load_checkpoint(f'{server}/{name}')
    assert loaded['state_dict']['weight'].tolist() == [1, 1]
    assert files_in(cache) == [name]
    # The second time, the server is not asked.
    (tmp_path / 'files' / name).unlink()
    assert CheckpointLoader.load_checkpoint(f'{server}/{name}').keys() == loaded.keys()


def test_a_file_without_a_hash_in_its_name_is_loaded(server: str, cache: Path, tmp_path: Path) -> None:
    publish(tmp_path)
    for name in ('resnet-18.pth', 'model-20200130.pth', "my 'best' ü.pth"):
        torch.save(dict(state_dict={}), tmp_path / 'files' / name)
        assert 'state_dict' in CheckpointLoader.load_checkpoint(f'{server}/{name}')
        assert name in files_in(cache)


@pytest.mark.parametrize('damage', ['replaced', 'truncated'])
def test_a_download_with_another_hash_is_refused_and_not_kept(
    damage: str, server: str, cache: Path, tmp_path: Path
) -> None:
    name = publish(tmp_path)
    path = tmp_path / 'files' / name
    path.write_bytes(path.read_bytes()[:-9] + (b'' if damage == 'truncated' else b'123456789'))
    actual = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    with pytest.raises(CheckpointError) as caught:
        CheckpointLoader.load_checkpoint(f'{server}/{name}')
    message = str(caught.value)
    assert name in message
    assert f'the hash {name[-12:-4]}' in message
    assert f'its content has {actual}' in message
    assert files_in(cache) == []


def test_a_damaged_file_of_an_earlier_download_is_refused_with_its_path(
    server: str, cache: Path, tmp_path: Path
) -> None:
    name = publish(tmp_path)
    CheckpointLoader.load_checkpoint(f'{server}/{name}')
    content = bytearray((cache / name).read_bytes())
    content[len(content) // 2] ^= 1
    (cache / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        CheckpointLoader.load_checkpoint(f'{server}/{name}')
    assert str(cache / name) in str(caught.value)
    assert 'delete the file' in str(caught.value)
    (cache / name).unlink()
    CheckpointLoader.load_checkpoint(f'{server}/{name}')


def test_an_unreadable_file_without_a_hash_is_refused_with_its_path(server: str, cache: Path, tmp_path: Path) -> None:
    (tmp_path / 'files' / 'model.pth').write_bytes(b'PK\x03\x04')
    with pytest.raises(UnreadableCheckpointError) as caught:
        CheckpointLoader.load_checkpoint(f'{server}/model.pth')
    assert f'delete {cache / "model.pth"}' in str(caught.value)


@pytest.mark.parametrize('problem', ['missing', 'refused'])
def test_a_failed_download_ends_with_one_sentence_and_leaves_no_file(
    problem: str, server: str, cache: Path, tmp_path: Path
) -> None:
    url = f'{server}/none.pth' if problem == 'missing' else 'http://127.0.0.1:9/none.pth'
    with pytest.raises(
        ConfigRuntimeError, match=r'none\.pth cannot be downloaded .*check the URL; without a network, download it'
    ):
        download(url, progress=False)
    assert files_in(cache) == []


def test_a_teacher_is_verified(server: str, cache: Path, tmp_path: Path) -> None:
    name = publish(tmp_path, 'teacher', dict(build_distillation().teacher.state_dict()))
    build_distillation(teacher_ckpt=f'{server}/{name}', allow_random_teacher=False).init_weights()
    (cache / name).write_bytes(b'other')
    with pytest.raises(ValueError, match='the hash'):
        build_distillation(teacher_ckpt=f'{server}/{name}', allow_random_teacher=False).init_weights()


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('ssd300_coco_20210803_015428-d231a06e.pth', 'd231a06e'),
        ('resnet50-0676ba61.pth', '0676ba61'),
        # A hash of digits that are no date.
        ('a_20210803-12345678.pth', '12345678'),
        ('a_20210803-20219999.pth', '20219999'),
        ('a-20210803.pth', None),
        ('a_20210803_015428.pth', None),
        ('resnet-18.pth', None),
        ('a-d231a06g.pth', None),
        ('a-d231a06e.pth.tar', 'd231a06e'),
    ],
)
def test_hash_in_name(name: str, expected: str | None) -> None:
    assert hash_in_name(name) == expected
