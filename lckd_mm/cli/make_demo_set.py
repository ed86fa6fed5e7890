"""Make the bundled demonstration set: handwritten digits in front of photographs, in the layout of PASCAL VOC."""

from collections.abc import Sequence
from dataclasses import fields

from .parser import VerbParser

_HELP = {
    'seed': 'random seed',
    'num_train': 'number of training images',
    'num_val': 'number of validation images',
    'num_test': 'number of test images',
    'image_size': 'height and width of the images, in pixels',
    'min_digits': 'minimum number of digits drawn for an image',
    'max_digits': 'maximum number of digits in an image',
    'min_height': 'minimum height of the frame of a digit, in pixels',
    'max_height': 'maximum height of the frame of a digit, in pixels',
}

EXAMPLES = {
    'the set of the demonstration configs': '{prog}',
    'a smaller one': '{prog} --out data/digits_small --num-train 16 --num-val 8 --num-test 8',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Make the set; an existing set with the same settings stays as it is.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    # Needs scikit-learn, which nothing else does.
    from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes

    names = [field.name for field in fields(DigitSceneSettings)]
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        '--out', default='data/digits_voc', metavar='DIR', help='the folder to make (default: data/digits_voc)'
    )
    parser.add_argument('--no-progress', action='store_true', help='show no progress bar')
    for field in fields(DigitSceneSettings):
        option = '--' + field.name.replace('_', '-')
        parser.add_argument(
            option,
            type=int,
            default=field.default,
            metavar='NUMBER',
            help=f'{_HELP[field.name]} (default: {field.default})',
        )
    args = parser.parse(arguments)
    settings = DigitSceneSettings(**{name: getattr(args, name) for name in names})
    is_made = make_digit_scenes(args.out, settings, progress=not args.no_progress)
    print(f'{args.out}: {"made" if is_made else "exists already"}')
