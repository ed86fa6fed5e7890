"""Find the layers at which a distillation compares a student with a teacher, with their shapes and the reasons.

A config is a path, or a config of an installed package: mmdet::retinanet/retinanet_r50_fpn_1x_coco.py. Nothing is downloaded.
"""

from collections.abc import Sequence

from lckd_mm.analysis.tap_finder import find_taps
from lckd_mm.analysis.tap_pairs import find_pairs
from lckd_mm.analysis.taps import build_networks, list_layers, print_layers, print_pairs, print_taps

from .parser import VerbParser
from .quiet import quiet

EXAMPLES = {
    'pairs of layers of a student and a teacher': (
        '{prog} mmdet::retinanet/retinanet_r18_fpn_1x_coco.py mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    ),
    'the layers of a distillation': '{prog} lckd_mm::demo/lckd_resnet_w16_w4_digits.py',
    'all blocks of a model, for images of 512 x 512 pixels': (
        '{prog} mmdet::retinanet/retinanet_r18_fpn_1x_coco.py --size 512 512 --depth 3'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        'configs', nargs='+', metavar='CONFIG', help='one model, a distillation, or a student and a teacher'
    )
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the image in pixels (default: a size that the model takes)',
    )
    parser.add_argument(
        '--depth',
        type=int,
        metavar='NUMBER',
        help='list all layers whose names have at most this number of parts: 3 for the blocks of a stage',
    )
    args = parser.parse(arguments)
    if len(args.configs) > 2:
        parser.error(f'{len(args.configs)} configs are too many: give one, or a student and a teacher.')
    # Warnings about missing checkpoints are irrelevant, since only shapes are read.
    with quiet():
        networks = build_networks(args.configs)
        if args.depth is not None:
            for name, model in networks.items():
                print_layers(name, list_layers(model, args.size, args.depth))
        elif len(networks) == 2:
            student, teacher = networks.values()
            print_pairs(find_pairs(student, teacher, args.size))
        else:
            for name, model in networks.items():
                print_taps(name, find_taps(model, args.size, trained=True))
