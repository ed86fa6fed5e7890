"""Train a detector, a segmentor and a classifier in many forms, and compare each with a plain training.

    python tools/dev/check_trainings.py WORK_DIR [--tasks detector ...] [--columns ema ...]

Each cell is a distillation of two epochs through `tools/train.py`. It prints the largest deviation of a loss from that of its reference.
The teacher must not change by a bit, and the memory must not grow in 300 iterations. An interrupted run continues.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes  # noqa: E402
from tests.helpers.training_matrix import TrainingMatrix, check_memory  # noqa: E402
from tests.helpers.training_matrix_configs import COLUMNS, TASKS  # noqa: E402


def main() -> None:
    """Print a table; the exit status is 1 if a cell fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', type=Path, help='folder of the trainings')
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    parser.add_argument('--columns', nargs='+', choices=[*COLUMNS, 'memory'], default=[*COLUMNS, 'memory'])
    args = parser.parse_args()
    folder = args.work_dir.resolve()
    data = folder / 'data'
    if not data.exists():
        settings = DigitSceneSettings(num_train=12, num_val=4, num_test=4)
        make_digit_scenes(data, settings, progress=False)
    matrix = TrainingMatrix(folder, data)
    has_failed = False
    for name in args.columns:
        for task in args.tasks:
            try:
                result = _check(matrix, task, name)
            except AssertionError as error:
                has_failed = True
                result = f'FAILED: {error}'
            print(f'{name:14} {task:10} {result}', flush=True)
    sys.exit(has_failed)


def _check(matrix: TrainingMatrix, task: str, name: str) -> str:
    if name == 'memory':
        return check_memory(matrix.memory(task, num_iters=300, interval=60))
    if COLUMNS[name].needs_gpu and not torch.cuda.is_available():
        return 'needs a GPU'
    deviation = matrix.check(task, name)
    return f'deviation {deviation:.2g}, bound {COLUMNS[name].bound:g}'


if __name__ == '__main__':
    main()
