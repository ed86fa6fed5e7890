"""Make the bundled demonstration set: handwritten digits in front of photographs, laid out like PASCAL VOC."""

import argparse
from dataclasses import fields

from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes

HELP = {
    'seed': 'seed of everything random',
    'num_train': 'number of training images',
    'num_val': 'number of validation images',
    'num_test': 'number of test images',
    'image_size': 'height and width of the images, in pixels',
    'min_digits': 'fewest digits wanted in an image',
    'max_digits': 'most digits in an image',
    'min_height': "smallest height of a digit's frame, in pixels",
    'max_height': "largest height of a digit's frame, in pixels",
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', default='data/digits_voc', help='the folder to make')
    parser.add_argument('--no-progress', action='store_true', help='show no progress bar')
    for field in fields(DigitSceneSettings):
        option = '--' + field.name.replace('_', '-')
        parser.add_argument(option, type=int, default=field.default, help=HELP[field.name])
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        settings = DigitSceneSettings(**{field.name: getattr(args, field.name) for field in fields(DigitSceneSettings)})
        made = make_digit_scenes(args.out, settings, progress=not args.no_progress)
    except (ValueError, FileExistsError) as error:
        raise SystemExit(f'make_demo_set: {error}') from None
    print(f'{args.out}: {"made" if made else "there already"}')


if __name__ == '__main__':
    main()
