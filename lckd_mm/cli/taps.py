"""List the layers of a model that can be tapped, with their shapes; for a student and a teacher, suggest pairs.

    python -m lckd_mm taps my_detector.py --size 512 512
    python -m lckd_mm taps my_student.py my_teacher.py
    python -m lckd_mm taps my_distillation.py

A config is a path, or a config of an installed package: mmdet::retinanet/retinanet_r50_fpn_1x_coco.py. Nothing is downloaded.
"""

import logging
from collections.abc import Sequence

from lckd_mm.analysis.taps import build_networks, find_taps, print_pairs, print_taps, suggest_pairs

from .parser import VerbParser


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__)
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help='one model, a distillation, or a student and a teacher'
    )
    parser.add_argument(
        '--size', nargs=2, type=int, default=(224, 224), metavar=('HEIGHT', 'WIDTH'), help='image in pixels'
    )
    parser.add_argument(
        '--depth', type=int, default=2, help='maximum number of parts of a name: 3 for the blocks of a stage'
    )
    args = parser.parse(arguments)
    if len(args.configs) > 2:
        parser.error(f'{len(args.configs)} configs are too many: give one, or a student and a teacher.')
    # Warnings about missing checkpoints are irrelevant, since only shapes are read.
    logging.disable(logging.WARNING)
    taps = {}
    for name, model in build_networks(args.configs).items():
        taps[name] = find_taps(model, tuple(args.size), args.depth)
        print_taps(f'{name}, image of {args.size[0]} x {args.size[1]}', taps[name])
    if len(taps) == 2:
        print_pairs(suggest_pairs(*taps.values()))
