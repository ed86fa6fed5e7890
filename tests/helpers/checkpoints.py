"""Checkpoints with code, with histories, and in torch's two formats."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

FORMATS = ('zip', 'legacy')


class RunsCode:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def write_checkpoint(data: Any, path: Path, file_format: str) -> Path:
    """Write a checkpoint in torch's zip format, or in the format of torch before 1.6 ('legacy')."""
    torch.save(data, path, _use_new_zipfile_serialization=file_format == 'zip')
    return path


def make_history(values: Sequence[float] = (0.1, 2.0, float('nan')), max_length: int = 1000) -> HistoryBuffer:
    """Return a history of these values."""
    history = HistoryBuffer(max_length=max_length)
    for count, value in enumerate(values, 1):
        history.update(value, count)
    return history


def assert_same_history(first: HistoryBuffer, second: HistoryBuffer) -> None:
    """Compare type, length, dtypes and every value."""
    assert type(first) is type(second) is HistoryBuffer
    assert first.max_length == second.max_length
    for a, b in zip(first.data, second.data):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
