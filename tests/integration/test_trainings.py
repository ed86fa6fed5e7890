"""One distillation for each form of training, compared with a plain one; `tools/dev/check_trainings.py` compares all tasks."""

from pathlib import Path

import pytest
import torch

from lckd_mm.cli.train import main
from tests.helpers.training_matrix import TrainingMatrix, check_memory, train_by_tool
from tests.helpers.training_matrix_configs import COLUMNS

CELLS = {
    'classifier': ('plain', 'accumulation', 'clip_grad', 'sync_bn', 'group_norm', 'two_processes'),
    'segmentor': ('amp_bfloat16', 'amp_float16', 'ema', 'channels_last'),
    'detector': ('with_cp', 'iterations'),
}


def _train(config: Path, work_dir: Path, *arguments: str, processes: int = 1) -> None:
    """Train in this process, which has imported everything, unless several are needed."""
    if processes > 1:
        train_by_tool(config, work_dir, *arguments, processes=processes)
    else:
        main([str(config), '--work-dir', str(work_dir), *arguments])


@pytest.fixture(scope='module')
def matrix(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingMatrix:
    return TrainingMatrix(tmp_path_factory.mktemp('trainings'), scenes, _train)


def test_every_form_of_training_belongs_to_a_task() -> None:
    assert sorted(name for names in CELLS.values() for name in names) == sorted(COLUMNS)


@pytest.mark.training
@pytest.mark.parametrize(
    'task', [pytest.param(task, marks=[] if task == 'segmentor' else pytest.mark.slow) for task in CELLS]
)
def test_form_of_training_has_the_losses_of_its_reference(matrix: TrainingMatrix, task: str) -> None:
    for name in CELLS[task]:
        if torch.cuda.is_available() or not COLUMNS[name].needs_gpu:
            matrix.check(task, name)


@pytest.mark.slow
@pytest.mark.training
@pytest.mark.parametrize('task', ['detector', 'segmentor', 'classifier'])
def test_memory_stays_flat_over_300_iterations(matrix: TrainingMatrix, task: str) -> None:
    check_memory(matrix.memory(task, num_iters=300, interval=60))
