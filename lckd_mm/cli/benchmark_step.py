"""Measure a whole training step: a student alone, with LCKD, and with methods of MMRazor, on the same batch in one run.

A step consists of forward pass, backward pass and optimizer. The teachers have random weights, which does not affect the time:

- student alone;
- teacher forward: LipschitzDistill without adapters and without a loss on the taps;
- LCKD: LipschitzDistill with the preset 'lipschitz' on the four stages, with and without adapters;
- PKD: LipschitzDistill with the preset 'pkd' on the same stages, alone and with 'lipschitz';
- MMRazor, same losses: SingleTeacherDistill, which runs the whole teacher, with the distiller of LCKD;
- MMRazor PKD and OFD: its algorithms, losses and connectors, combined as in its own configs.

Each round measures every step once, in random order. Ratios are geometric means over the rounds, with a 95 % interval. MiB is the peak
memory in addition to the model and the batch. Operations and synchronizations are those that reach PyTorch's backend in one step.
"""

import dataclasses
import json
from collections.abc import Sequence

from lckd_mm.analysis.benchmark import describe_run, write_report
from lckd_mm.analysis.benchmark_contenders import PAIRS, STEPS
from lckd_mm.analysis.benchmark_step import Measurement, Settings, measure_pair
from lckd_mm.analysis.benchmark_step_report import plot_steps, report_lines

from .benchmark_options import add_device, add_limits, add_output, add_size, read_limits
from .parser import VerbParser
from .quiet import quiet
from .status import show_status

EXAMPLES = {
    'all pairs, with report and plot': '{prog} --out work_dirs/benchmark_step',
    'one pair with few images': '{prog} --pairs classifier --images 2 --rounds 2 --minutes 0',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the benchmark.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = make_parser(prog)
    args = parser.parse(arguments)
    size = (args.size[0], args.size[1])
    limits = read_limits(args)
    settings = Settings(args.device, args.amp, args.tf32, size, args.images, tuple(args.steps), limits)
    header = describe_run('Training steps', args.device, settings.precision, parser.command_line(arguments))
    results: dict[str, Measurement] = {}
    lines, record = [header['title']], dict(header, size=args.size, images=args.images, pairs={})
    # mmengine lists every initialized parameter.
    with quiet(), show_status() as update:
        for pair in args.pairs:
            results[pair] = measure_pair(pair, settings, update)
            lines += ['', *report_lines(pair, results[pair])]
            record['pairs'][pair] = dataclasses.asdict(results[pair])
            if args.out:
                # The result of a pair is kept if a later one is interrupted.
                write_report(args.out, record, lines)
                plot_steps(results, args.out / 'benchmark.png', header['title'])
    print(json.dumps(record) if args.json else '\n'.join(lines))


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        '--pairs', nargs='+', choices=tuple(PAIRS), default=tuple(PAIRS), help='student and teacher (default: all)'
    )
    add_device(parser, 'the models')
    parser.add_argument(
        '--amp', choices=('float16', 'bfloat16'), help='data type under autocast (default: float32 without autocast)'
    )
    parser.add_argument(
        '--tf32', action='store_true', help='let a GPU round the factors of float32 products to TF32 (default: exact)'
    )
    add_size(parser)
    parser.add_argument(
        '--images',
        type=int,
        default=16,
        metavar='NUMBER',
        help='number of images of 224 x 224 pixels of the classifier (default: 16)',
    )
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS, help='the steps to measure (default: all)')
    add_limits(parser, rounds=30, minutes=20.0)
    add_output(parser)
    return parser
