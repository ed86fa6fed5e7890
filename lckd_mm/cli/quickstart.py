"""Train a teacher, a student alone and the same student with LCKD on the bundled data set; print a table, draw a figure.

The task is detection (the default), segmentation or classification. Finished trainings are not repeated, and interrupted ones
are resumed. The logs are in work_dirs/*/train.log.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from lckd_mm.analysis.quickstart import TASKS, config_path, report_task, train_role, work_dir
from lckd_mm.analysis.training import last_checkpoint
from lckd_mm.models.utils import export_student

from . import make_demo_set
from .parser import VerbParser

EXAMPLES = {
    'detection': '{prog}',
    'all three tasks': '{prog} all',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the demonstration in the root of a checkout.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        'task', nargs='?', choices=[*TASKS, 'all'], default='detection', help='the task (default: detection)'
    )
    parser.add_argument('--fresh', action='store_true', help='repeat finished trainings')
    args = parser.parse(arguments)
    start, tasks = time.monotonic(), list(TASKS) if args.task == 'all' else [args.task]
    _say(f'about {sum(TASKS[name].minutes for name in tasks)} minutes on 2 cores the first time, one minute afterwards')
    make_demo_set.main([])
    for name in tasks:
        _run_task(name, args.fresh)
    _say(f'done in {(time.monotonic() - start) / 60:.1f} minutes')


def _run_task(name: str, is_fresh: bool) -> None:
    task = TASKS[name]
    for role in task.roles:
        train_role(task, role, is_fresh, _say)
    folder = work_dir(task.configs[-1])
    student = folder / 'student.pth'
    num_keys = export_student(last_checkpoint(folder), student)
    _say(f'the plain student for {config_path(task.configs[1])}: {student} ({num_keys} keys)')
    figure = Path('work_dirs') / f'quickstart_{name}.png'
    report_task(name, figure)
    _say(f'figure: {figure}')


def _say(text: str) -> None:
    print(f'[quick start] {text}', flush=True)
