"""The demonstrations on a GPU, started through the tools."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from lckd_mm.engine.norm_log import read_norms
from tests.helpers.tools import SMALL_DISTILLATION, data_options, free_port

pytestmark = [pytest.mark.training, pytest.mark.gpu]
RANDOM_TEACHER = ('model.teacher_ckpt=None', 'model.allow_random_teacher=True')
CONFIGS = {
    'detection': ('configs/demo/lckd_faster_rcnn_r50_r18_digits.py', 'pascal_voc/mAP'),
    'segmentation': ('configs/demo/lckd_deeplabv3plus_r18w32_r18w8_digits.py', 'mIoU'),
    'classification': ('configs/demo/lckd_resnet_w16_w4_digits.py', 'accuracy/top1'),
}


def _crops(task: str, scenes: Path) -> list[str]:
    if task != 'classification':
        return []
    # The few validation images do not show all digits.
    return [*data_options(scenes / 'Crops'), 'val_dataloader.dataset.data_prefix=train']


@pytest.mark.parametrize('flags', [(), ('--amp',), ('--amp', '--channels-last')], ids=' '.join)
@pytest.mark.parametrize('task', CONFIGS)
def test_every_task_trains_on_a_gpu(tool: Callable, scenes: Path, task: str, flags: tuple, tmp_path: Path) -> None:
    config, metric = CONFIGS[task]
    options = (*SMALL_DISTILLATION, *RANDOM_TEACHER, *_crops(task, scenes), 'train_cfg.max_epochs=1')
    done = tool('tools/train.py', config, '--work-dir', tmp_path, *flags, options=options)
    assert metric in done.stdout + done.stderr
    rows = read_norms(tmp_path / 'lipschitz' / 'spectral_norms.csv')
    assert rows
    assert all(math.isfinite(row['teacher']) and row['student'] > 0 for row in rows)


@pytest.mark.parametrize('task', ['segmentation', 'classification'])
def test_the_launcher_trains_on_one_gpu(tool: Callable, scenes: Path, task: str, tmp_path: Path) -> None:
    config, metric = CONFIGS[task]
    options = (*SMALL_DISTILLATION, *RANDOM_TEACHER, *_crops(task, scenes), 'train_cfg.max_epochs=1')
    command = ('bash', 'tools/dist_train.sh', config, '1', '--work-dir', tmp_path)
    done = tool(*command, options=options, PORT=str(free_port()))
    assert metric in done.stdout + done.stderr
