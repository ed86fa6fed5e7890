"""Trains what a config describes: a distillation, or a model alone."""

import lckd_mm  # noqa: F401  (first: it registers everything and mends the stack)
from lckd_mm.cli import build_runner, check_data, load_config, make_parser, to_channels_last
from lckd_mm.engine.hooks import AnnotationCheckHook, ClassCountHook


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='go on from this checkpoint; without a path, or with "auto", from the latest in the work directory',
    )
    parser.add_argument('--amp', action='store_true', help='train with automatic mixed precision; on a CPU in bfloat16')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate by the batch size over all processes'
    )
    parser.add_argument(
        '--channels-last',
        action='store_true',
        help='keep maps as (batch, height, width, channels) in memory: faster convolutions on CPUs, and on GPUs with --amp',
    )
    args = parser.parse_args()
    cfg = load_config(parser, args)

    if args.amp:
        kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
            parser.error(f"--amp works with optim_wrapper.type='OptimWrapper' or 'AmpOptimWrapper', not {kind!r}")
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            parser.error(
                f'--auto-scale-lr needs the batch size that the learning rate of {args.config} is meant for: '
                'set auto_scale_lr=dict(base_batch_size=...) in the config'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume

    check_data(cfg, 'train_dataloader', 'val_dataloader')
    runner = build_runner(cfg)
    runner.register_hook(ClassCountHook())
    runner.register_hook(AnnotationCheckHook())
    if args.channels_last:
        to_channels_last(runner.model)
    runner.train()


if __name__ == '__main__':
    main()
