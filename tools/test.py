"""Evaluates a checkpoint as its config describes."""

import inspect

from mmengine.config import ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.registry import HOOKS

import lckd_mm  # noqa: F401  (it registers everything and mends the stack)
from lckd_mm.cli import build_runner, check_data, load_config, make_parser


def draw_predictions(parser, cfg, show: bool, folder) -> None:
    """Turns the config's visualization hook on.

    mmdet, mmseg and mmpretrain each have their own, with their own names for the same things: what the hook of this
    config takes, it gets.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        parser.error("--show and --show-dir need a hook that draws: the config has no 'visualization' in default_hooks")
    wanted = {'draw': True, 'enable': True, 'show': show, 'test_out_dir': folder, 'out_dir': folder}
    with HOOKS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        known = inspect.signature(registry.get(hook.type)).parameters
    hook.update({name: value for name, value in wanted.items() if name in known})
    if folder is not None:
        cfg.visualizer.save_dir = folder


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument('checkpoint', help='a path or a URL')
    parser.add_argument('--out', metavar='FILE.pkl', help='keep the predictions in this file')
    parser.add_argument('--show', action='store_true', help='show the predictions')
    parser.add_argument('--show-dir', help='paint the predictions into this folder')
    parser.add_argument('--tta', action='store_true', help="augment at test time, as the config's tta_* entries say")
    args = parser.parse_args()
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out writes a pickle file, whose name ends in .pkl or .pickle, not {args.out!r}')
    cfg = load_config(parser, args)
    cfg.load_from = args.checkpoint

    if args.show or args.show_dir is not None:
        draw_predictions(parser, cfg, args.show, args.show_dir)
    if args.tta:
        missing = [name for name in ('tta_model', 'tta_pipeline') if name not in cfg]
        if missing:
            parser.error(f'--tta needs {" and ".join(missing)} in {args.config}')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)

    check_data(cfg, 'test_dataloader')
    runner = build_runner(cfg)
    if args.out is not None:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    main()
