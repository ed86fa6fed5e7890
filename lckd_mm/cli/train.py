"""Train the model of a config: a distillation, or a plain model.

Data sets, checkpoints and taps are checked before the training starts. Checkpoints and logs are written to the work directory.
"""

import argparse
from collections.abc import Sequence

from mmengine.config import Config

from lckd_mm.analysis.configs import use_amp
from lckd_mm.errors import ConfigValueError
from lckd_mm.latest_checkpoint import find_latest_checkpoint

from .config_check import check_config
from .data_check import check_data
from .hooks import ADDED_HOOKS, add_default_hooks
from .interruption import reported_end
from .memory_format import to_channels_last
from .parser import VerbParser, add_runner_arguments
from .runner import build_runner, load_runner_config

EXAMPLES = {
    'the teacher of the bundled demonstration, whose data set tools/dataset_converters/make_demo_set.py makes': (
        '{prog} lckd_mm::demo/resnet_w16_digits.py'
    ),
    'a student distilled from it, with other values of the config': (
        '{prog} lckd_mm::demo/lckd_resnet_w16_w4_digits.py '
        '--cfg-options train_dataloader.batch_size=64 default_hooks.lipschitz_balance.share=0.2'
    ),
    'go on after an interruption': '{prog} lckd_mm::demo/lckd_resnet_w16_w4_digits.py --resume',
    'two processes': (
        'torchrun --nproc_per_node=2 -m lckd_mm train lckd_mm::demo/lckd_resnet_w16_w4_digits.py --launcher pytorch'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.

    Raises:
        SystemExit: After an interrupt (Ctrl-C) with status 130, after SIGTERM with status 143.
    """
    args = make_parser(prog).parse(arguments)
    cfg = load_runner_config(args)
    apply_arguments(cfg, args)
    add_default_hooks(cfg, ADDED_HOOKS)
    check_config(cfg, 'train', 'val')
    check_data(cfg, 'train_dataloader', 'val_dataloader')
    runner = build_runner(cfg)
    if args.channels_last:
        to_channels_last(runner.model)
    with reported_end(runner):
        runner.train()


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    add_runner_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='resume from this checkpoint; without one, or with "auto", from the latest in the work directory',
    )
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision; bfloat16 on a CPU')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size over all processes'
    )
    parser.add_argument(
        '--channels-last',
        action='store_true',
        help='store maps as (batch, height, width, channels): faster convolutions on CPUs, and on GPUs with --amp',
    )
    return parser


def apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Apply ``--amp``, ``--auto-scale-lr`` and ``--resume`` to a config.

    Args:
        cfg (Config): The config, which is changed.
        args (Namespace): The arguments.

    Raises:
        ConfigValueError: The config does not support an argument.
    """
    if args.amp:
        use_amp(cfg)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ConfigValueError(
                f'--auto-scale-lr: {args.config} does not contain the batch size of its learning rate: set '
                'auto_scale_lr=dict(base_batch_size=...) in the config.'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        _resume(cfg, args.resume)


def _resume(cfg: Config, checkpoint: str) -> None:
    if checkpoint != 'auto':
        cfg.resume, cfg.load_from = True, checkpoint
    elif cfg.get('load_from') is None or find_latest_checkpoint(cfg.work_dir, is_logged=False) is not None:
        cfg.resume, cfg.load_from = True, None
    # Otherwise the training starts, from the weights that the config loads.
