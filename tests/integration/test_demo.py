"""The demonstration at a small size: trained, resumed, exported and evaluated through the tools."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from lckd_mm.checkpoint import load_data
from lckd_mm.engine.norm_log import read_norms
from lckd_mm.models.utils import export_student
from tests.helpers.resume_check import compare_runs, read_run
from tests.helpers.tools import ROOT, SMALL_DISTILLATION, free_port

pytestmark = pytest.mark.training
CONFIG = 'configs/demo/lckd_faster_rcnn_r50_r18_digits.py'


@pytest.fixture(scope='module')
def trained(tool: Callable, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('lckd')
    options = (*SMALL_DISTILLATION, f'model.teacher_ckpt={teacher}')
    tool('tools/train.py', CONFIG, '--work-dir', work_dir, options=options)
    return work_dir


def test_training_writes_norms_and_a_checkpoint_of_plain_data(trained: Path) -> None:
    rows = read_norms(trained / 'lipschitz' / 'spectral_norms.csv')
    assert [r['pair'] for r in rows if r['iter'] == 6] == ['0', '1', '2', 'bound']
    assert all(r['teacher'] > 0 and r['student'] > 0 for r in rows)
    assert (trained / 'lipschitz' / 'spectral_norms.png').exists()
    state = torch.load(trained / 'epoch_2.pth', weights_only=True)['state_dict']
    assert not any(k.startswith('teacher.') for k in state)


def test_resumed_training_is_bit_identical(tool: Callable, teacher: Path, trained: Path, tmp_path: Path) -> None:
    options = (*SMALL_DISTILLATION, f'model.teacher_ckpt={teacher}')
    tool('tools/train.py', CONFIG, '--work-dir', tmp_path, '--resume', trained / 'epoch_1.pth', options=options)
    first, second = (
        {name: value for name, value in read_run(folder).items() if name.startswith('epoch_2.pth/')}
        for folder in (trained, tmp_path)
    )
    assert first['epoch_2.pth/meta/iter'] == 6
    assert compare_runs(first, second) == []


def test_exported_student_loads_into_the_plain_config_with_the_same_metric(
    tool: Callable, trained: Path, tmp_path: Path
) -> None:
    export_student(trained / 'epoch_2.pth', tmp_path / 'student.pth')
    cfg = Config.fromfile(ROOT / 'configs/demo/faster_rcnn_r18_digits.py')
    with DefaultScope.overwrite_default_scope('mmdet'):
        plain = MODELS.build(cfg.model)
    result = plain.load_state_dict(load_data(tmp_path / 'student.pth')['state_dict'])
    assert not result.missing_keys
    scores = [
        next(
            line.split('pascal_voc/mAP:')[1].split()[0]
            for line in done.stdout.splitlines()
            if 'pascal_voc/mAP:' in line
        )
        for done in (
            tool('tools/test.py', config, checkpoint, '--work-dir', tmp_path / Path(config).stem)
            for config, checkpoint in (
                (CONFIG, trained / 'epoch_2.pth'),
                ('configs/demo/faster_rcnn_r18_digits.py', tmp_path / 'student.pth'),
            )
        )
    ]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_two_processes_train_the_demonstration_without_a_gpu(tool: Callable, teacher: Path, tmp_path: Path) -> None:
    options = (
        *SMALL_DISTILLATION,
        f'model.teacher_ckpt={teacher}',
        'train_dataloader.batch_size=2',
        'train_cfg.max_epochs=1',
    )
    command = ('bash', 'tools/dist_train.sh', CONFIG, '2', '--work-dir', tmp_path, '--auto-scale-lr')
    done = tool(*command, options=options, PORT=str(free_port()))
    assert 'pascal_voc/mAP' in done.stdout + done.stderr
    # Two batches of 2 images, a rate of 0.004 for 8.
    (group,) = load_data(tmp_path / 'epoch_1.pth')['optimizer']['param_groups']
    assert group['initial_lr'] == pytest.approx(0.002)


@pytest.mark.slow
def test_two_processes_train_a_model_with_sync_bn_without_a_gpu(tool: Callable, tmp_path: Path) -> None:
    options = (
        'model.teacher_ckpt=None',
        'model.allow_random_teacher=True',
        'train_dataloader.batch_size=6',
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.save_best=None',
    )
    config = 'configs/demo/lckd_deeplabv3plus_r18w32_r18w8_digits.py'
    command = ('bash', 'tools/dist_train.sh', config, '2', '--work-dir', tmp_path)
    done = tool(*command, options=options, PORT=str(free_port()), CUDA_VISIBLE_DEVICES='')
    assert 'mIoU' in done.stdout + done.stderr
    assert (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason='on a GPU, --amp trains in float16')
def test_mixed_precision_trains_without_a_gpu(tool: Callable, teacher: Path, tmp_path: Path) -> None:
    options = (*SMALL_DISTILLATION, f'model.teacher_ckpt={teacher}', 'train_cfg.max_epochs=1')
    done = tool('tools/train.py', CONFIG, '--work-dir', tmp_path, '--amp', '--channels-last', options=options)
    assert 'pascal_voc/mAP' in done.stdout + done.stderr
    rows = read_norms(tmp_path / 'lipschitz' / 'spectral_norms.csv')
    assert all(math.isfinite(r['teacher']) and r['student'] > 0 for r in rows)


def test_missing_file_is_reported_before_training(tool: Callable, tmp_path: Path) -> None:
    options = ('train_dataloader.dataset.data_root=nowhere/',)
    done = tool('tools/train.py', CONFIG, '--work-dir', tmp_path, options=options, ok=False)
    assert done.returncode == 2
    assert "'nowhere/ImageSets/Main/train.txt' is missing" in done.stderr
    assert 'Epoch(train)' not in done.stdout
