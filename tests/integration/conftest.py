import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

import lckd_mm
from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes

ROOT = Path(lckd_mm.__file__).parents[1]
# Everything of the demonstration but its size.
SMALL = (
    'train_dataloader.batch_size=4',
    'train_cfg.max_epochs=2',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.save_best=None',
    'default_hooks.checkpoint.max_keep_ckpts=5',
    'custom_hooks.0.interval=1',
)


@pytest.fixture(scope='session')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demonstration set of 12 training and 4 validation images."""
    folder = tmp_path_factory.mktemp('data') / 'digits'
    make_digit_scenes(folder, DigitSceneSettings(num_train=12, num_val=4, num_test=4), progress=False)
    return folder


@pytest.fixture(scope='session')
def tool(scenes: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Run a tool of the repository on a small demonstration set, as a user would, and return what it said."""

    def _tool(*command: Any, options: tuple = (), ok: bool = True, **environment: str) -> subprocess.CompletedProcess:
        loaders = [f'{split}_dataloader.dataset.data_root={scenes}/' for split in ('train', 'val', 'test')]
        full = [*map(str, command), '--cfg-options', *loaders, *options]
        if full[0].endswith('.py'):
            full = [sys.executable, '-W', 'ignore', *full]
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, **environment}
        done = subprocess.run(full, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert not ok or done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return done

    return _tool


@pytest.fixture(scope='session')
def teacher(tool: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a teacher trained for an epoch."""
    work_dir = tmp_path_factory.mktemp('teacher')
    options = (*SMALL[:-1], 'train_cfg.max_epochs=1')
    tool('tools/train.py', 'configs/demo/faster_rcnn_r50_digits.py', '--work-dir', work_dir, options=options)
    return work_dir / 'epoch_1.pth'
