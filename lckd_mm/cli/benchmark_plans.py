"""Measure every plan for a spectral norm, to check the choice of the cost model.

A plan states how many images are processed at a time, and whether the transmitting matrix is materialized. All plans of a shape take turns
in each round, in random order. Ratios are geometric means over the rounds, with a 95 % interval.
"""

import json
from collections.abc import Sequence

from lckd_mm.analysis.benchmark import describe_run, write_report
from lckd_mm.analysis.benchmark_plans import SHAPES, measure_plans, report_lines

from .benchmark_options import add_device, add_output
from .parser import VerbParser
from .status import show_status

EXAMPLES = {
    'all shapes, with a report': '{prog} --out work_dirs/benchmark_plans',
    'a check of the tool in some seconds': '{prog} --shapes 2 --repeats 2 --device cpu',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = make_parser(prog)
    args = parser.parse(arguments)
    header = describe_run('Plans for a spectral norm', args.device, 'float32', parser.command_line(arguments))
    with show_status() as update:
        rows = [measure_plans(shape, args.device, args.repeats, update) for shape in SHAPES[: args.shapes]]
    record, lines = dict(header, rows=rows), [header['title'], '', *report_lines(rows)]
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
    add_device(parser, 'the maps')
    parser.add_argument('--repeats', type=int, default=10, metavar='NUMBER', help='number of rounds (default: 10)')
    parser.add_argument(
        '--shapes',
        type=int,
        choices=range(1, len(SHAPES) + 1),
        default=len(SHAPES),
        metavar='NUMBER',
        help=f'measure only the first shapes (default: all {len(SHAPES)})',
    )
    add_output(parser, 'benchmark.json and benchmark.md')
    return parser
