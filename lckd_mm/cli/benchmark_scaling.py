"""Measure training steps in one process and in several on a CPU: the scaling efficiency of a student alone and of LCKD.

The scaling efficiency is the number of images per second of N processes, divided by N times that of one process. Every process has the
same number of images and threads in both cases. The processes reduce their gradients by gloo, in DistributedDataParallel as the Runner
wraps a model: without find_unused_parameters, and with the gradients of the student and of the adapters only.

Each round measures all four steps once, in random order. On a machine whose cores are occupied by one process the efficiency is far below
1; the ratio of both efficiencies shows what a distillation adds to it.
"""

import dataclasses
import json
import os
from collections.abc import Sequence

from lckd_mm.analysis.benchmark import describe_machine, describe_run, write_report
from lckd_mm.analysis.benchmark_contenders import PAIRS
from lckd_mm.analysis.benchmark_scaling import Settings, measure_scaling
from lckd_mm.analysis.benchmark_scaling_report import report_lines
from lckd_mm.errors import ConfigValueError

from .benchmark_options import add_limits, add_output, add_size, read_limits
from .parser import VerbParser
from .quiet import quiet
from .status import show_status

EXAMPLES = {
    'two processes, with report': '{prog} --out work_dirs/benchmark_scaling',
    'one round with few images': '{prog} --images 2 --rounds 1 --minutes 0',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        ConfigValueError: Fewer than two processes, or no thread.
    """
    parser = make_parser(prog)
    args = parser.parse(arguments)
    if args.processes < 2:
        raise ConfigValueError(f'--processes {args.processes} has no scaling efficiency: use 2 or more.')
    num_cores = os.cpu_count() or 1
    threads = args.threads if args.threads is not None else max(num_cores // args.processes, 1)
    if threads < 1:
        raise ConfigValueError(f'--threads {threads} is not a number of threads: use 1 or more.')
    limits = read_limits(args)
    settings = Settings(args.pair, args.processes, threads, args.images, (args.size[0], args.size[1]), limits)
    count = f'{threads} thread' + ('s' if threads > 1 else '')
    machine = f'{describe_machine("cpu").rpartition(",")[0]}, {num_cores} logical cores, {count} per process'
    header = describe_run(PAIRS[args.pair], 'cpu', 'float32', parser.command_line(arguments), machine)
    with quiet(), show_status() as update:
        scaling = measure_scaling(settings, update)
    lines = [header['title'], '', *report_lines(scaling)]
    record = dict(header, scaling=dataclasses.asdict(scaling))
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
        '--pair', choices=tuple(PAIRS), default='classifier', help='student and teacher (default: classifier)'
    )
    parser.add_argument('--processes', type=int, default=2, metavar='NUMBER', help='number of processes (default: 2)')
    parser.add_argument(
        '--threads',
        type=int,
        metavar='NUMBER',
        help='number of threads of each process (default: number of cores / number of processes)',
    )
    parser.add_argument(
        '--images', type=int, default=8, metavar='NUMBER', help='number of images of each process (default: 8)'
    )
    add_size(parser)
    add_limits(parser, rounds=5, minutes=3.0)
    add_output(parser, 'benchmark.json and benchmark.md')
    return parser
