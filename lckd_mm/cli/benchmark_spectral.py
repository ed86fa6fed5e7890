"""Measure time, memory and error of the spectral norm: ours, the published computation, PyTorch's, and the floor.

The shapes are (batch, C1@H1, C2@H2) of two consecutive taps. "published" transcribes the authors' algorithm. The floor contains
the pooling with its backward pass, if there is one, one read of both maps, and one full write of both gradients; "traffic" is
the same without the pooling. Errors are relative to the SVD in float64, those of the gradients in norm.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from lckd_mm.analysis.benchmark import describe_machine, write_report
from lckd_mm.analysis.benchmark_spectral import measure_constants, measure_shape
from lckd_mm.analysis.benchmark_spectral_cases import IMPLEMENTATIONS, SHAPES, Settings, select_shapes
from lckd_mm.analysis.benchmark_spectral_report import plot_times, report_lines

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
    args = make_parser(prog).parse(arguments)
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
    run_benchmark(args, settings)


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        '--device',
        choices=('cpu', 'cuda'),
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='device of the maps (default: cuda where torch sees a GPU)',
    )
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
    parser.add_argument(
        '--repeats', type=int, default=15, metavar='NUMBER', help='number of measurements (default: 15)'
    )
    parser.add_argument(
        '--seconds',
        type=float,
        default=6.0,
        help='time limit for the repetitions of one column of one row (default: 6)',
    )
    parser.add_argument('--no-memory', action='store_true', help='do not measure the working memory')
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='folder for benchmark.json, benchmark.md and benchmark.png'
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of the tables')
    parser.add_argument('--constants', action='store_true', help='print the constants of the cost model and exit')
    return parser


def run_benchmark(args: argparse.Namespace, settings: Settings) -> None:
    """Measure all shapes, print the report and write its files.

    Args:
        args (Namespace): The arguments.
        settings (Settings): How to measure.
    """
    console, rows = Console(stderr=True), []
    with console.status('') as status:
        for group, shape in select_shapes(args.shapes):
            row = dict(measure_shape(shape, settings, status.update), group=group)
            rows.append(row)
            ours, floor = (row[column]['total'] * 1e3 for column in ('ours', 'floor'))
            console.print(f'{row["name"]:40} ours {ours:9.2f} ms   floor {floor:9.2f} ms')
    record = dict(machine=describe_machine(args.device), torch=torch.__version__, dtype=str(settings.dtype), rows=rows)
    title = f'Spectral norm of a pair of taps, {record["machine"]}, {args.dtype}'
    lines = report_lines(rows, settings.columns)
    print(json.dumps(record) if args.json else '\n'.join([f'{title}, torch {torch.__version__}', '', *lines]))
    if args.out:
        write_report(args.out, record, [title, '', *lines])
        plot_times(rows, settings.columns, args.out / 'benchmark.png', title)
