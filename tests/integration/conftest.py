import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes
from tests.helpers.shared import make_once
from tests.helpers.tools import SMALL, data_options, run_tool


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demonstration set of 12 training and 4 validation images."""
    settings = DigitSceneSettings(num_train=12, num_val=4, num_test=4)
    return make_once(tmp_path_factory, 'scenes', lambda folder: make_digit_scenes(folder, settings, progress=False))


@pytest.fixture(scope='session')
def tool(scenes: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run a tool of the repository on the small demonstration set."""

    def _tool(*command: Any, options: tuple = (), **arguments: Any) -> subprocess.CompletedProcess:
        return run_tool(*command, options=(*data_options(scenes), *options), **arguments)

    return _tool


@pytest.fixture(scope='session')
def teacher(tool: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a teacher that was trained for one epoch."""

    def train(work_dir: Path) -> None:
        options = (*SMALL, 'train_cfg.max_epochs=1')
        tool('tools/train.py', 'configs/demo/faster_rcnn_r50_digits.py', '--work-dir', work_dir, options=options)

    return make_once(tmp_path_factory, 'teacher', train) / 'epoch_1.pth'


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pretrained weights, which would be downloaded."""
    monkeypatch.setattr('mmengine.model.weight_init.PretrainedInit.__call__', lambda *_: None)
