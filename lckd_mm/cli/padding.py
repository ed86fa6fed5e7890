"""Measure the effect of padding on the spectral norms of a distillation, with and without the exclusion of the padding.

Each image is processed alone, and then padded on the right and below, as in a batch with larger images. The table contains, for
each pair of taps, the median of |ln(norm with padding / norm without)| over the images: of the student, of the teacher, and of
the ratio of the two, which the loss compares. The last row shows how much that ratio differs between images.
"""

import logging
from collections.abc import Sequence

import torch
from mmengine.logging import MMLogger
from rich.progress import track

from lckd_mm.analysis.distillation import load_distillation
from lckd_mm.analysis.padding import keep_spectral_losses, measure_padding, print_padding, sample_images

from .parser import VerbParser

EXAMPLES = {
    'a segmentor of the bundled demonstration after its training': (
        '{prog} lckd_mm::demo/lckd_deeplabv3plus_r18w32_r18w8_digits.py '
        'work_dirs/lckd_deeplabv3plus_r18w32_r18w8_digits/epoch_8.pth'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument('config', metavar='CONFIG', help='config of a distillation')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of its training')
    parser.add_argument('--images', type=int, default=32, metavar='NUMBER', help='number of test images (default: 32)')
    parser.add_argument(
        '--divisor',
        type=int,
        default=32,
        metavar='PIXELS',
        help='heights and widths are multiples of this number of pixels (default: 32)',
    )
    args = parser.parse(arguments)
    MMLogger.get_instance('measure_padding', log_level=logging.WARNING)
    cfg, model = load_distillation(args.config, args.checkpoint)
    keep_spectral_losses(model)
    images = track(sample_images(cfg, model, args.images, args.divisor), 'images', total=args.images)
    print_padding(torch.stack([measure_padding(model, image, args.divisor) for image in images]))
