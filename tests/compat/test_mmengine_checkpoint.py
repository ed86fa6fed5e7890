"""mmengine reads and writes checkpoints as data."""

import functools
import http.server
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, checkpoint, load_checkpoint, save_checkpoint

import lckd_mm  # noqa: F401  (applies the patches)
from lckd_mm.checkpoint import UnreadableCheckpointError, UnsafeCheckpointError
from lckd_mm.dependencies import current_stack

from ..helpers.checkpoints import FORMATS, RunsCode, assert_same_history, make_history, write_checkpoint
from ..helpers.processes import SCRIPTS, run_python
from ..scripts.toy_training import make_runner


@pytest.fixture(params=FORMATS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    def write(data: Any, name: str = 'checkpoint.pth') -> Path:
        return write_checkpoint(data, tmp_path / name, request.param)

    return write


@pytest.mark.parametrize('call', ['os.system', 'builtins.exec', 'builtins.eval', 'pathlib.Path.touch'])
def test_a_checkpoint_with_code_is_refused_and_runs_nothing(call: str, write: Callable, tmp_path: Path) -> None:
    marker = tmp_path / 'marker'
    code = {
        'os.system': RunsCode(os.system, f'touch {marker}'),
        'builtins.exec': RunsCode(exec, f'open({str(marker)!r}, "w")'),
        'builtins.eval': RunsCode(eval, f'open({str(marker)!r}, "w")'),
        'pathlib.Path.touch': RunsCode(Path.touch, marker),
    }[call]
    path = write({'state_dict': {'weight': torch.ones(1)}, 'meta': [code]})
    with pytest.raises(UnsafeCheckpointError) as refusal:
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    assert not marker.exists()
    assert str(path) in str(refusal.value)
    if call != 'pathlib.Path.touch':
        assert call.replace('os.', 'posix.') in str(refusal.value)
    # torch's unsafe reader would have run it.
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_getattr_in_a_checkpoint_returns_nothing(write: Callable) -> None:
    path = write({'method': RunsCode(getattr, HistoryBuffer, 'mean')})
    assert CheckpointLoader.load_checkpoint(str(path)) == {'method': None}


@pytest.mark.parametrize('content', [b'', b'<html>not found</html>', b'PK\x03\x04cut off'])
def test_a_file_that_is_no_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(UnreadableCheckpointError, match=r'broken\.pth cannot be read as a checkpoint'):
        CheckpointLoader.load_checkpoint(str(path))


def test_a_missing_file_is_still_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'none.pth'))


def test_what_mmengine_writes_is_read_unchanged(write: Callable) -> None:
    data = {
        'history': make_history(),
        'empty': HistoryBuffer(),
        'arrays': [
            np.arange(6.0).reshape(2, 3),
            np.asfortranarray(np.eye(3)),
            np.array(['a', 'bc']),
            np.arange(3, dtype='>i4'),
        ],
        'scalars': (np.float32(1.5), np.int64(3), np.bool_(True)),
        'cfg': ConfigDict(a=[ConfigDict(b=1)]),
        'state_dict': torch.nn.BatchNorm2d(3).state_dict(),
    }
    path = write(data)
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(path)
    loaded = CheckpointLoader.load_checkpoint(str(path))
    assert_same_history(loaded['history'], data['history'])
    assert_same_history(loaded['empty'], data['empty'])
    assert loaded['history'].statistics('max') is not None
    for array, expected in zip(loaded['arrays'], data['arrays']):
        assert type(array) is np.ndarray
        # numpy converts another byte order to the native one.
        assert array.dtype == expected.dtype.newbyteorder('=')
        np.testing.assert_array_equal(array, expected)
    assert loaded['scalars'] == data['scalars']
    assert loaded['cfg'] == {'a': [{'b': 1}]}
    assert loaded['state_dict']._metadata == data['state_dict']._metadata


def test_methods_of_a_history_do_not_come_from_the_file(write: Callable) -> None:
    # The first history of a process registers the methods.
    path = write({'history': make_history()})
    before = dict(HistoryBuffer._statistics_methods)
    CheckpointLoader.load_checkpoint(str(path))
    assert before == HistoryBuffer._statistics_methods


def test_an_old_public_checkpoint_loads(write: Callable) -> None:
    # The content of OpenMMLab's checkpoints of 2020.
    model = torch.nn.Linear(2, 1)
    state = OrderedDict((name, value.clone().fill_(2)) for name, value in model.state_dict().items())
    path = write(
        {'meta': {'mmdet_version': '2.0.0', 'time': 'Sat Feb  1 2020', 'CLASSES': ('a', 'b')}, 'state_dict': state}
    )
    load_checkpoint(model, str(path))
    assert model.weight.tolist() == [[2, 2]]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve `tmp_path` on a free port; downloads go to a folder of their own."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch_home'))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, 'log_message', lambda *_: None)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def test_downloads_are_read_as_data(
    server: str, write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / 'marker'
    write({'a': RunsCode(os.system, f'touch {marker}')}, 'evil.pth')
    write({'state_dict': {'backbone.w': torch.ones(1)}, 'history': make_history()}, 'good.pth')
    with pytest.raises(UnsafeCheckpointError):
        CheckpointLoader.load_checkpoint(f'{server}/evil.pth')
    assert not marker.exists()
    # The function that mmengine calls without the patch runs the code.
    torch.hub.load_state_dict_from_url(f'{server}/evil.pth', progress=False)
    assert marker.exists()

    marker.unlink()
    for name in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(checkpoint, name, lambda: {'evil': f'{server}/evil.pth', 'good': f'{server}/good.pth'})
    for scheme in ('torchvision', 'open-mmlab', 'mmcls'):
        assert 'state_dict' in CheckpointLoader.load_checkpoint(f'{scheme}://good')
        with pytest.raises(UnsafeCheckpointError):
            CheckpointLoader.load_checkpoint(f'{scheme}://evil')
    assert not marker.exists()
    assert (tmp_path / 'torch_home' / 'hub' / 'checkpoints' / 'good.pth').exists()


def test_what_is_saved_is_plain_data(tmp_path: Path) -> None:
    state = torch.nn.BatchNorm2d(3).state_dict()
    data = {
        'state_dict': state,
        'history': make_history(),
        'meta': {'palette': np.array([[1, 2]]), 'best': np.float64(0.5), 'cfg': ConfigDict(a=1), 'path': tmp_path},
    }
    save_checkpoint(data, str(tmp_path / 'saved.pth'))
    loaded = torch.load(tmp_path / 'saved.pth', weights_only=True)
    assert loaded['meta'] == {'palette': [[1, 2]], 'best': 0.5, 'cfg': {'a': 1}, 'path': str(tmp_path)}
    assert loaded['state_dict']._metadata == state._metadata
    assert isinstance(data['history'], HistoryBuffer), 'saving must not modify the data'


@pytest.mark.training
def test_a_run_of_plain_mmengine_is_resumed_only_with_the_patch(tmp_path: Path) -> None:
    toy, plain = SCRIPTS / 'toy_training.py', tmp_path / 'plain'
    trained = run_python(toy, 'plain', plain)
    assert trained.returncode == 0, trained.stderr
    resumed = run_python(toy, 'plain', plain / 'again', '--resume', plain / 'epoch_1.pth')
    if current_stack() == 'openmmlab':
        assert resumed.returncode != 0
        assert 'Unsupported global' in resumed.stderr
    runner = make_runner(tmp_path / 'patched', resume=True, load_from=str(plain / 'epoch_1.pth'))
    runner.train()
    expected = torch.load(plain / 'epoch_2.pth', weights_only=False)
    assert runner.epoch == 2
    assert torch.equal(runner.model.linear.weight, expected['state_dict']['linear.weight'])
    np.testing.assert_array_equal(
        runner.message_hub.log_scalars['train/loss'].data[0],
        expected['message_hub']['log_scalars']['train/loss'].data[0],
    )
