"""Measure whole trainings: images per second of a student alone, of its distillation, and of the same distillation by MMRazor.

Each training is a process of `python -m lckd_mm train`, as a user starts it, with data loading, evaluation, checkpoints and hooks:

- student alone: the baseline;
- LCKD: the distillation as it is configured, with the hooks that measure and balance the Lipschitz loss;
- LCKD, without its hooks: without these hooks, which MMRazor does not have;
- MMRazor, same losses: the same distiller and losses with MMRazor's SingleTeacherDistill, which runs the whole teacher.

Each round trains every kind once, in random order. The checks that `train` adds run in all of them. The default is the classification
demonstration on its generated data, data/digits_voc. The teacher has random weights unless --teacher-ckpt is given; those of a detector
determine how many of its proposals MMRazor's algorithm processes.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from lckd_mm.analysis.benchmark import describe_run, write_report
from lckd_mm.analysis.benchmark_runs import KINDS, Experiment, measure_runs, plan_runs
from lckd_mm.analysis.benchmark_runs_report import report_lines
from lckd_mm.errors import ConfigValueError

from .benchmark_options import add_output
from .parser import VerbParser, shorten_path
from .quiet import quiet
from .status import show_status

DEMONSTRATION = ('lckd_mm::demo/resnet_w4_digits.py', 'lckd_mm::demo/lckd_resnet_w16_w4_digits.py')
EXAMPLES = {
    'the classification demonstration, with report': '{prog} --out work_dirs/benchmark_runs',
    'one round of one epoch': '{prog} --rounds 1 --epochs 1',
    'the detection demonstration with its teacher': (
        '{prog} --configs lckd_mm::demo/faster_rcnn_r18_digits.py lckd_mm::demo/lckd_faster_rcnn_r50_r18_digits.py '
        '--teacher-ckpt work_dirs/faster_rcnn_r50_digits/epoch_7.pth'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigValueError: The number of rounds or epochs is not positive.
    """
    parser = make_parser(prog)
    args = parser.parse(arguments)
    for option in ('rounds', 'epochs'):
        if getattr(args, option) < 1:
            raise ConfigValueError(f'--{option} {getattr(args, option)} measures nothing: use 1 or more.')
    options = (f'train_cfg.max_epochs={args.epochs}', *args.cfg_options)
    baseline, distillation = args.configs or DEMONSTRATION
    experiment = Experiment(baseline, distillation, options, args.teacher_ckpt)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    header = describe_run(f'Whole trainings, {distillation}', device, 'float32', parser.command_line(arguments))
    with quiet(), show_status('making the data and the teacher') as update:
        if args.configs is None:
            # Needs scikit-learn, which nothing else does.
            from lckd_mm.datasets import make_digit_scenes

            make_digit_scenes('data/digits_voc', progress=False)
        runs = {kind: run for kind, run in plan_runs(experiment, args.work_dir).items() if kind in args.kinds}
        times = measure_runs(runs, args.rounds, args.work_dir, update)
    lines = [header['title'], '', *report_lines(times)]
    commands = {
        kind: ['train', *map(shorten_path, (config, '--cfg-options', *overrides))]
        for kind, (config, overrides) in runs.items()
    }
    seconds = {kind: [dataclasses.asdict(run) for run in rounds] for kind, rounds in times.items()}
    record = dict(header, commands=commands, runs=seconds)
    print(json.dumps(record) if args.json else '\n'.join(lines))
    if args.out:
        write_report(args.out, record, lines)


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        '--configs',
        nargs=2,
        metavar=('STUDENT', 'DISTILLATION'),
        help='config of the student alone and of its distillation (default: the classification demonstration)',
    )
    parser.add_argument(
        '--kinds', nargs='+', choices=tuple(KINDS), default=tuple(KINDS), help='the trainings to measure (default: all)'
    )
    parser.add_argument(
        '--rounds', type=int, default=5, metavar='NUMBER', help='number of trainings of each kind (default: 5)'
    )
    parser.add_argument(
        '--epochs', type=int, default=2, metavar='NUMBER', help='number of epochs of each training (default: 2)'
    )
    parser.add_argument(
        '--teacher-ckpt',
        default='',
        metavar='CHECKPOINT',
        help='checkpoint of the teacher (default: one with random weights)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=(),
        metavar='KEY=VALUE',
        help='overrides of all configs, train_dataloader.batch_size=16 for example',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/benchmark_runs'),
        metavar='DIR',
        help='folder of the teacher and of the present training (default: work_dirs/benchmark_runs)',
    )
    add_output(parser, 'benchmark.json and benchmark.md')
    return parser
