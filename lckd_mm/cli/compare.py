"""Train variants with several seeds and compare a metric: a table with mean and standard deviation, and a plot.

The variants are in a YAML file, which also names the teacher; it is trained first if its checkpoint does not exist:

    python -m lckd_mm compare configs/cifar10/comparison.yml --out work_dirs/compare_cifar10

Or each variant is an argument in quotes, '[NAME:] CONFIG [KEY=VALUE ...]':

    python -m lckd_mm compare 'baseline: a.py' 'LCKD: b.py' --metric mIoU --out work_dirs/mine

Runs with a result in OUT/results.jsonl are not repeated. Interrupted runs are resumed.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from lckd_mm.analysis.comparison import Comparison, Variant
from lckd_mm.analysis.comparison_file import load_comparison
from lckd_mm.analysis.comparison_report import report_comparison
from lckd_mm.analysis.comparison_runs import train_teacher, train_variants
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError

from .parser import VerbParser


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigRuntimeError: A training failed; the others are finished and reported first.
    """
    args = make_parser(prog).parse(arguments)
    comparison = make_comparison(args)
    args.out.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    if not args.report_only:
        if comparison.teacher is not None:
            train_teacher(comparison.teacher, comparison.train_args)
        failures = train_variants(comparison, args.out, args.jobs)
    report_comparison(comparison, args.out)
    if failures:
        raise ConfigRuntimeError('\n'.join(f'failed: {failure}' for failure in failures))


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__)
    parser.add_argument('variants', nargs='+', metavar='VARIANT', help='a YAML file, or one argument per variant')
    parser.add_argument('--seeds', nargs='+', type=int, help='random seeds; the default is 0 1 2, or those of the file')
    parser.add_argument('--metric', help='name in the log: accuracy/top1, pascal_voc/mAP, mIoU')
    parser.add_argument(
        '--out', type=Path, required=True, help='folder of results.jsonl, the runs, the table and the plot'
    )
    parser.add_argument('--jobs', type=int, default=1, help='simultaneous trainings, which share the cores or the GPUs')
    parser.add_argument('--train-args', help='further arguments of train, in quotes: "--channels-last"')
    parser.add_argument('--report-only', action='store_true', help='report existing results without training')
    return parser


def make_comparison(args: argparse.Namespace) -> Comparison:
    """Return the comparison that the arguments describe.

    Args:
        args (Namespace): The arguments.

    Returns:
        Comparison: The comparison; ``--metric``, ``--seeds`` and ``--train-args`` override the values of a file.

    Raises:
        ConfigValueError: A file is mixed with variants, or the metric is missing.
    """
    overrides = {}
    if args.metric is not None:
        overrides['metric'] = args.metric
    if args.seeds is not None:
        overrides['seeds'] = tuple(args.seeds)
    if args.train_args is not None:
        overrides['train_args'] = tuple(shlex.split(args.train_args))
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
