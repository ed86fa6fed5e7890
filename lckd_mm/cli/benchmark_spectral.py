"""Measure time, memory and error of the spectral norm: lckd_mm, the published computation, PyTorch's, and the floor.

The shapes are (batch, C1@H1, C2@H2) of two consecutive taps. "published" transcribes the authors' algorithm. The floor contains
the pooling with its backward pass, if there is one, one read of both maps, and one full write of both gradients; "traffic" is
the same without the pooling. Errors are relative to the SVD in float64, those of the gradients in norm.

All columns take turns in each round. Ratios are geometric means over the rounds, with a 95 % interval.
"""

import argparse
import json
from collections.abc import Sequence

import torch
from rich.console import Console

from lckd_mm.analysis.benchmark import describe_run, write_report
from lckd_mm.analysis.benchmark_spectral import measure_constants, measure_shape
from lckd_mm.analysis.benchmark_spectral_cases import IMPLEMENTATIONS, SHAPES, Settings, select_shapes
from lckd_mm.analysis.benchmark_spectral_report import median_total, plot_times, report_lines

from .benchmark_options import add_device, add_output
from .parser import VerbParser

EXAMPLES = {
    'all shapes, with report and plot': '{prog} --out work_dirs/benchmark_spectral',
    'the shapes of one network, with few repetitions': '{prog} --shapes ssd300 --repeats 3 --seconds 1 --no-memory',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = make_parser(prog)
    args = parser.parse(arguments)
    if args.constants:
        for name, value in measure_constants(args.device).items():
            print(f'{name:17} {value:.3g}')
        return
    settings = Settings(
        device=args.device,
        dtype=getattr(torch, args.dtype),
        channels_last=args.channels_last,
        skip=tuple(args.skip),
        repeats=args.repeats,
        seconds=args.seconds,
        measure_memory=not args.no_memory,
    )
    run_benchmark(args, settings, parser.command_line(arguments))


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    add_device(parser, 'the maps')
    parser.add_argument(
        '--dtype',
        choices=('float32', 'float16', 'bfloat16'),
        default='float32',
        help='data type of the maps (default: float32)',
    )
    parser.add_argument(
        '--channels-last', action='store_true', help='store the maps as (batch, height, width, channels)'
    )
    parser.add_argument(
        '--shapes', nargs='+', choices=tuple(SHAPES), default=tuple(SHAPES), help='groups of shapes (default: all)'
    )
    parser.add_argument(
        '--skip', nargs='+', choices=tuple(IMPLEMENTATIONS)[1:], default=(), help='columns to leave out (default: none)'
    )
    parser.add_argument('--repeats', type=int, default=15, metavar='NUMBER', help='number of rounds (default: 15)')
    parser.add_argument(
        '--seconds',
        type=float,
        default=6.0,
        help='time limit for the rounds of one column of one row, of which five are measured in any case (default: 6)',
    )
    parser.add_argument('--no-memory', action='store_true', help='do not measure the working memory')
    add_output(parser)
    parser.add_argument('--constants', action='store_true', help='print the constants of the cost model and exit')
    return parser


def run_benchmark(args: argparse.Namespace, settings: Settings, command: str) -> None:
    """Measure all shapes, print the report and write its files.

    Args:
        args (Namespace): The arguments.
        settings (Settings): How to measure.
        command (str): The command line, for the record.
    """
    precision = f'{args.dtype}, channels last' if args.channels_last else args.dtype
    header = describe_run('Spectral norm of a pair of taps', args.device, precision, command)
    console, rows = Console(stderr=True), []
    with console.status('') as status:
        for group, shape in select_shapes(args.shapes):
            row = dict(measure_shape(shape, settings, status.update), group=group)
            rows.append(row)
            times = [f'{column} {median_total(row, column) * 1e3:9.2f} ms' for column in ('lckd_mm', 'floor')]
            console.print(f'{row["name"]:30} {"   ".join(times)}')
    record = dict(header, columns=settings.columns, rows=rows)
    lines = [header['title'], '', *report_lines(rows, settings.columns)]
    print(json.dumps(record) if args.json else '\n'.join(lines))
    if args.out:
        write_report(args.out, record, lines)
        plot_times(rows, settings.columns, args.out / 'benchmark.png', header['title'])
