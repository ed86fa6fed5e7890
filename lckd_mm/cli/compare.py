"""Train variants with several seeds and compare a metric: a verdict for each pair, with an interval and a p value.

The variants are in a YAML file, which also names the teacher; it is trained first if its checkpoint does not exist. Or each variant
is an argument in quotes, '[NAME:] CONFIG [KEY=VALUE ...]'. The first variant is the baseline.

Runs with a result in OUT/results.jsonl are not repeated. Interrupted runs are resumed. The exit status is 2 if a run failed, and 3 if
the deadline came first. docs/comparing.md explains the file and the verdict.
"""

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lckd_mm.analysis.comparison import SPLITS, Comparison, Variant
from lckd_mm.analysis.comparison_file import load_comparison
from lckd_mm.analysis.comparison_plan import STAGES, stage_runs
from lckd_mm.analysis.comparison_queue import (
    Executor,
    Outcome,
    Queue,
    check_settings,
    drop_other_settings,
    work_through,
)
from lckd_mm.analysis.comparison_report import check_stale_results, make_report, write_report
from lckd_mm.analysis.comparison_results import ResultStore
from lckd_mm.analysis.comparison_robustness import evaluate_robustness
from lckd_mm.analysis.comparison_runs import clean_run, train_teacher
from lckd_mm.analysis.comparison_slurm import SlurmExecutor
from lckd_mm.analysis.comparison_splits import describe_splits, resolve_splits
from lckd_mm.analysis.comparison_statistics import INTERVALS
from lckd_mm.analysis.training import DeadlineError
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError

from .options_action import OptionsAction
from .parser import VerbParser
from .signals import terminated_like_interrupted

# Exit status if the deadline came before the last run; 2 is that of errors.
_UNFINISHED = 3

EXAMPLES = {
    'the variants of a file, for at most one hour': (
        '{prog} configs/demo/comparison_classification.yml --out work_dirs/compare_demo --deadline 60'
    ),
    'two variants with five seeds; the teacher is trained already': (
        "{prog} 'baseline: lckd_mm::demo/resnet_w4_digits.py' 'LCKD: lckd_mm::demo/lckd_resnet_w16_w4_digits.py' "
        '--metric accuracy/top1 --report-on val --seeds 0 1 2 3 4 --out work_dirs/compare_two'
    ),
}

EXECUTORS = ('here', 'slurm', 'submitit-local', 'submitit-debug')


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigRuntimeError: A training failed; the others are finished and reported first.
        SystemExit: With status 3, if the deadline came before the last run.
    """
    start = time.monotonic()
    args = make_parser(prog).parse(arguments)
    comparison = resolve_splits(make_comparison(args))
    if args.robustness and (args.slurm is not None or args.executor not in (None, 'here')):
        raise ConfigValueError('--robustness evaluates on this machine: run it without --slurm and --executor.')
    print(describe_splits(comparison))
    args.out.mkdir(parents=True, exist_ok=True)
    store = ResultStore(comparison, args.out)
    stop_at = None if args.deadline is None else start + 60 * args.deadline
    work = Queue(comparison, store, args.out, args.jobs, stop_at, args.stage, args.clean)
    outcome = Outcome([], [])
    if args.report_only or args.robustness:
        check_stale_results(comparison, store)
    if args.robustness:
        with terminated_like_interrupted():
            outcome = evaluate_robustness(work)
    elif not args.report_only:
        with terminated_like_interrupted():
            outcome = _train(work, make_executor(args), args.repeat)
    # The evaluations that are missing need the checkpoints.
    is_robustness_missing = args.robustness and bool(outcome.failures or outcome.unfinished)
    if args.clean and not is_robustness_missing:
        _clean(work)
    command = ['python', '-m', 'lckd_mm', 'compare', *(sys.argv[1:] if arguments is None else arguments)]
    write_report(make_report(comparison, store, args.interval), args.out, command)
    if outcome.failures:
        raise ConfigRuntimeError('\n'.join(outcome.sentences))
    if outcome.unfinished:
        print('\n'.join(outcome.sentences), file=sys.stderr)
        sys.exit(_UNFINISHED)


def _train(work: Queue, executor: Executor | None, repeat: bool) -> Outcome:
    teacher = work.comparison.teacher
    if teacher is not None:
        try:
            train_teacher(teacher, work.comparison.train_args, work.stop_at)
        except DeadlineError:
            return Outcome([], ['teacher'])
    if repeat:
        drop_other_settings(work, is_here=executor is None)
    elif executor is None:
        check_settings(work)
    outcome = work_through(work, executor)
    plan = work.plan()
    if work.stage == 'confirmation' and plan.missing_screening:
        titles = '; '.join(run.title for run in plan.missing_screening)
        raise ConfigValueError(
            f'the confirmation needs screening runs that are missing: {titles}; run --stage screening first.'
        )
    return outcome


def _clean(work: Queue) -> None:
    """Delete the checkpoints of the runs that were finished earlier."""
    plan = work.plan()
    runs = [
        run for stage in STAGES for run in stage_runs(work.comparison, plan, stage) if work.store.find(run) is not None
    ]
    size = sum(clean_run(work.out, run) for run in runs)
    if size:
        print(f'deleted checkpoints of finished runs: {size / 1e9:.2f} GB')


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        'variants', nargs='+', metavar='VARIANT', help='a YAML file, or one argument in quotes per variant'
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        type=int,
        metavar='SEED',
        help='random seeds (default: those of the file, or 0 1 2)',
    )
    parser.add_argument(
        '--metric',
        metavar='NAME',
        help='name in the log: accuracy/top1, pascal_voc/mAP, mIoU (default: that of the file)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder of results.jsonl, the runs, the table and the plot (required)',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=1,
        metavar='NUMBER',
        help='simultaneous trainings, which share the cores or the GPUs (default: 1)',
    )
    parser.add_argument(
        '--train-args',
        metavar='ARGUMENTS',
        help='further arguments of train, in quotes after an equals sign: --train-args="--amp --channels-last"',
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument('--report-only', action='store_true', help='report existing results without training')
    kind.add_argument(
        '--robustness',
        action='store_true',
        help='evaluate the confirmed runs on corrupted images without training; see `robustness` in docs/comparing.md',
    )
    parser.add_argument('--select-on', choices=SPLITS, help='split that selects (default: val)')
    parser.add_argument('--report-on', choices=SPLITS, help='split that is reported (default: test)')
    parser.add_argument('--interval', choices=INTERVALS, default='t', help='kind of the 95 %% intervals (default: t)')
    parser.add_argument('--stage', choices=(*STAGES, 'all'), default='all', help='train one stage only (default: all)')
    parser.add_argument(
        '--deadline',
        type=float,
        metavar='MINUTES',
        help='minutes after which no run starts and running ones are ended, with exit status 3 (default: none)',
    )
    parser.add_argument(
        '--slurm', metavar='PARTITION', help='one Slurm job per seed in this partition, through submitit'
    )
    parser.add_argument(
        '--executor',
        choices=EXECUTORS,
        help='how trainings run: here, or as jobs of slurm; submitit-local and submitit-debug run jobs on this machine '
        '(default: here, or slurm if --slurm is given)',
    )
    parser.add_argument(
        '--slurm-options',
        nargs='+',
        action=OptionsAction,
        metavar='KEY=VALUE',
        help='parameters of submitit: timeout_min=600 slurm_gres=gpu:1 cpus_per_task=8',
    )
    parser.add_argument('--repeat', action='store_true', help='repeat runs whose settings, versions or machine differ')
    parser.add_argument('--clean', action='store_true', help='delete the checkpoints of finished runs')
    return parser


def make_executor(args: argparse.Namespace) -> Executor | None:
    """Return what executes the trainings.

    Args:
        args (Namespace): The arguments.

    Returns:
        Executor, optional: The executor of jobs; None for this machine.

    Raises:
        ConfigValueError: Options of Slurm are given for trainings on this machine.
    """
    name = args.executor or ('here' if args.slurm is None else 'slurm')
    if name == 'here':
        if args.slurm is not None or args.slurm_options:
            raise ConfigValueError(
                '--slurm and --slurm-options have no effect on trainings on this machine: use --executor slurm, or remove them.'
            )
        return None
    return SlurmExecutor(name.removeprefix('submitit-'), args.slurm, args.slurm_options or {})


def make_comparison(args: argparse.Namespace) -> Comparison:
    """Return the comparison that the arguments describe.

    Args:
        args (Namespace): The arguments.

    Returns:
        Comparison: The comparison; ``--metric``, ``--seeds``, ``--train-args``, ``--select-on`` and ``--report-on`` override the
        values of a file.

    Raises:
        ConfigValueError: A file is mixed with variants, or the metric is missing.
    """
    given = {
        'metric': args.metric,
        'seeds': None if args.seeds is None else tuple(args.seeds),
        'train_args': None if args.train_args is None else tuple(shlex.split(args.train_args)),
        'select_on': args.select_on,
        'report_on': args.report_on,
    }
    overrides = {key: value for key, value in given.items() if value is not None}
    files = [text for text in args.variants if text.endswith(('.yml', '.yaml'))]
    if files:
        if len(args.variants) > 1:
            raise ConfigValueError(
                f'{files[0]!r} is given together with other variants: give one YAML file, or only variants.'
            )
        return dataclasses.replace(load_comparison(files[0]), **overrides)
    if args.metric is None:
        raise ConfigValueError('--metric is missing: set it to the name of a metric in the log, mIoU for example.')
    return Comparison(tuple(Variant.parse(text) for text in args.variants), **overrides)
