"""Measure how time and memory of the Lipschitz loss grow with the number of images, positions, taps and channels.

One quantity varies at a time, the others keep the value of a base case. The time is that of the spectral norms of student and teacher, the
loss, and the gradient of the student's maps. Memory is the peak in addition to the maps, with and without these gradients.

All sizes take turns in each round, in random order. The exponent of each quantity is fitted by least squares on the logarithms of the
medians, over the larger half of the sizes, where the constant cost of the calls no longer dominates. Linear growth has the exponent 1.
"""

import json
from collections.abc import Sequence

from lckd_mm.analysis.benchmark import describe_run, write_report
from lckd_mm.analysis.benchmark_growth import measure_growth
from lckd_mm.analysis.benchmark_growth_cases import GRIDS
from lckd_mm.analysis.benchmark_growth_report import plot_growth, report_lines

from .benchmark_options import add_device, add_output
from .parser import VerbParser
from .status import show_status

EXAMPLES = {
    'all sizes, with report and plot': '{prog} --out work_dirs/benchmark_growth',
    'a check of the tool in some seconds': '{prog} --quick --repeats 3 --device cpu',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = make_parser(prog)
    args = parser.parse(arguments)
    header = describe_run('Growth of the Lipschitz loss', args.device, 'float32', parser.command_line(arguments))
    grid = GRIDS['quick' if args.quick else args.device]
    with show_status() as update:
        rows = measure_growth(grid, args.device, args.repeats, update)
    record = dict(header, rows=rows)
    lines = [header['title'], '', *report_lines(rows)]
    print(json.dumps(record) if args.json else '\n'.join(lines))
    if args.out:
        write_report(args.out, record, lines)
        plot_growth(rows, args.out / 'benchmark.png', header['title'])


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    add_device(parser, 'the maps, which are larger on a GPU')
    parser.add_argument('--repeats', type=int, default=30, metavar='NUMBER', help='number of rounds (default: 30)')
    parser.add_argument('--quick', action='store_true', help='few and small sizes, for a check of the tool')
    add_output(parser)
    return parser
