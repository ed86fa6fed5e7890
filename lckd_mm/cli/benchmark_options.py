"""The arguments that several benchmarks share."""

import argparse
from pathlib import Path

import torch

from lckd_mm.analysis.benchmark_rounds import Limits


def add_device(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--device``.

    Args:
        parser (ArgumentParser): The parser.
        purpose (str): What the device is for.
    """
    parser.add_argument(
        '--device',
        choices=('cpu', 'cuda'),
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help=f'device of {purpose} (default: cuda where torch sees a GPU)',
    )


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add ``--size``, that of the images of a detector.

    Args:
        parser (ArgumentParser): The parser.
    """
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        default=(384, 512),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images of the detector in pixels (default: 384 512)',
    )


def add_limits(parser: argparse.ArgumentParser, rounds: int, minutes: float) -> None:
    """Add the arguments that :func:`read_limits` reads.

    Args:
        parser (ArgumentParser): The parser.
        rounds (int): Default of ``--rounds``.
        minutes (float): Default of ``--minutes``.
    """
    parser.add_argument(
        '--rounds',
        type=int,
        default=rounds,
        metavar='NUMBER',
        help=f'smallest number of rounds (default: {rounds})',
    )
    parser.add_argument(
        '--width',
        type=float,
        default=0.02,
        metavar='SHARE',
        help='measure until the interval of each reported ratio is narrower than this share of it (default: 0.02)',
    )
    parser.add_argument(
        '--minutes',
        type=float,
        default=minutes,
        metavar='NUMBER',
        help=f'time per pair of networks after which no further round starts, once there are enough (default: {minutes:g})',
    )
    parser.add_argument(
        '--warmup', type=int, default=1, metavar='NUMBER', help='number of rounds before the measurements (default: 1)'
    )


def read_limits(args: argparse.Namespace) -> Limits:
    """Return the limits that the arguments give.

    Args:
        args (Namespace): The values.

    Returns:
        Limits: How long to measure.
    """
    return Limits(args.rounds, args.minutes, args.width, args.warmup)


def add_output(parser: argparse.ArgumentParser, files: str = 'benchmark.json, benchmark.md and benchmark.png') -> None:
    """Add ``--out`` and ``--json``.

    Args:
        parser (ArgumentParser): The parser.
        files (str): The files in the folder ``--out``. Defaults to those of a benchmark with a plot.
    """
    parser.add_argument('--out', type=Path, metavar='DIR', help=f'folder for {files}')
    parser.add_argument('--json', action='store_true', help='print JSON instead of the tables')
