"""Reading and writing of checkpoints as data; tests/compat/test_mmengine_checkpoint.py covers mmengine's use of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from lckd_mm.checkpoint import CheckpointError, UnreadableCheckpointError, UnsafeCheckpointError, load_data, save_data
from lckd_mm.errors import ConfigError

from .helpers.checkpoints import FORMATS, RunsCode, write_checkpoint


@pytest.mark.parametrize('file_format', FORMATS)
@pytest.mark.parametrize('array', [np.array([1, None], dtype=object), np.zeros(2, dtype=[('a', 'f4'), ('b', 'O')])])
def test_arrays_of_objects_are_refused(array: np.ndarray, file_format: str, tmp_path: Path) -> None:
    path = write_checkpoint({'array': array}, tmp_path / 'array.pth', file_format)
    with pytest.raises(UnsafeCheckpointError, match='numpy'):
        load_data(path)


@pytest.mark.filterwarnings('ignore:.*torch.jit:DeprecationWarning')
def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / 'script.pth'))
    with pytest.raises(UnsafeCheckpointError, match='TorchScript'):
        load_data(tmp_path / 'script.pth')


def test_errors_are_configuration_errors_and_runtime_errors() -> None:
    for error in (UnsafeCheckpointError, UnreadableCheckpointError):
        assert issubclass(error, CheckpointError)
    assert issubclass(CheckpointError, ConfigError)
    assert issubclass(CheckpointError, RuntimeError)


def test_an_open_file_is_read_and_its_name_is_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / 'broken.pth'
    path.write_bytes(b'no checkpoint')
    with path.open('rb') as file, pytest.raises(UnreadableCheckpointError, match=r'broken\.pth cannot be read'):
        load_data(file)


class Foreign:
    """A class that is not data."""


@pytest.mark.parametrize('container', [list, tuple, set, frozenset])
def test_containers_are_saved_as_data(container: Any, tmp_path: Path) -> None:
    save_data({'values': container([1, Path('a')])}, tmp_path / 'data.pth')
    values = load_data(tmp_path / 'data.pth')['values']
    assert set(values) == {1, 'a'}
    assert type(values) is (set if container is frozenset else container)


def test_objects_that_are_no_data_are_reported_when_they_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda message, **_: messages.append(message))
    save_data({'meta': [Foreign()]}, tmp_path / 'foreign.pth')
    assert 'test_checkpoint.Foreign' in messages[0]
    with pytest.raises(UnsafeCheckpointError, match='Foreign'):
        load_data(tmp_path / 'foreign.pth')


@pytest.mark.parametrize('file_format', FORMATS)
def test_names_that_other_libraries_allow_are_not_called(file_format: str, tmp_path: Path) -> None:
    path = write_checkpoint({'method': RunsCode(getattr, HistoryBuffer, 'mean')}, tmp_path / 'data.pth', file_format)
    with torch.serialization.safe_globals([getattr, HistoryBuffer]):
        before = torch.serialization.get_safe_globals()
        assert load_data(path) == {'method': None}
        assert set(torch.serialization.get_safe_globals()) == set(before)
        # torch's reader calls getattr.
        assert torch.load(path, weights_only=True) == {'method': HistoryBuffer.mean}
