"""Measure the gradient of each loss of a distillation with respect to the student's backbone, compared with the task's gradient.

Without a checkpoint the start of the training is measured.
"""

import logging
from collections.abc import Sequence

from mmengine.logging import MMLogger
from rich.progress import track

from lckd_mm.analysis.distillation import load_distillation
from lckd_mm.analysis.gradients import measure_gradients, print_gradients, training_batches

from .parser import VerbParser

EXAMPLES = {
    'at the end of a training': (
        '{prog} lckd_mm::demo/lckd_resnet_w16_w4_digits.py work_dirs/lckd_resnet_w16_w4_digits/epoch_6.pth'
    ),
    'at its start, over 16 batches': '{prog} lckd_mm::demo/lckd_resnet_w16_w4_digits.py --batches 16',
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    parser.add_argument('config', metavar='CONFIG', help='config of a distillation')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        metavar='CHECKPOINT',
        help='checkpoint of its training (default: the start of the training)',
    )
    parser.add_argument(
        '--batches',
        type=int,
        default=4,
        metavar='NUMBER',
        help='number of training batches, of the batch size of the config (default: 4)',
    )
    args = parser.parse(arguments)
    MMLogger.get_instance('measure_gradients', log_level=logging.WARNING)
    cfg, model = load_distillation(args.config, args.checkpoint)
    # BNs use the statistics of the batch, as in training.
    model.train()
    batches = track(training_batches(cfg, model, args.batches), 'batches', total=args.batches)
    print_gradients([measure_gradients(model, batch) for batch in batches])
