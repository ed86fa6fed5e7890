"""Evaluate a checkpoint with the test data and the metrics of a config.

The config is that of a distillation or the student's own one; either takes a checkpoint of the distillation or an exported student.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.registry import HOOKS

from lckd_mm.analysis.comparison import SPLITS
from lckd_mm.analysis.corrupted_test import add_metrics, evaluate_corruptions, select_split
from lckd_mm.analysis.training import CORRUPTIONS_FILE
from lckd_mm.atomic_files import check_overwriting
from lckd_mm.engine.corruptions import parse_corruptions
from lckd_mm.errors import ConfigValueError

from .config_check import check_config
from .data_check import check_data
from .hooks import add_default_hooks
from .parser import VerbParser, add_runner_arguments
from .runner import build_runner, load_runner_config

EXAMPLES = {
    'the student of the bundled demonstration after its training': (
        '{prog} lckd_mm::demo/lckd_resnet_w16_w4_digits.py work_dirs/lckd_resnet_w16_w4_digits/epoch_6.pth'
    ),
    'the same student with its own config; also its calibration, and the predictions as a file': (
        '{prog} lckd_mm::demo/resnet_w4_digits.py work_dirs/lckd_resnet_w16_w4_digits/epoch_6.pth '
        '--add-metrics mmrazor.Calibration --out predictions.pkl'
    ),
}


def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the verb.

    Args:
        arguments (Sequence[str], optional): Command line arguments. Defaults to None, those of the process.
        prog (str, optional): Name of the program. Defaults to None, the name of the script.
    """
    args = make_parser(prog).parse(arguments)
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise ConfigValueError(
            f'--out {args.out!r} is not the name of a pickle file: use a name that ends in .pkl or .pickle.'
        )
    if args.out is not None:
        check_overwriting('--out', args.out, {'CHECKPOINT': args.checkpoint, 'CONFIG': args.config})
    if args.corrupted_images is not None and args.corruptions is None:
        raise ConfigValueError('--corrupted-images keeps corrupted images, but there are none: add --corruptions.')
    corruptions = [] if args.corruptions is None else parse_corruptions(args.corruptions)
    cfg = load_runner_config(args)
    select_split(cfg, args.split)
    check_config(cfg, 'test')
    cfg.load_from = args.checkpoint
    # An evaluation needs no state of a training.
    cfg.resume = False
    if args.show or args.show_dir is not None:
        enable_drawing(cfg, args.show, args.show_dir)
    if args.tta:
        enable_tta(cfg)
    add_default_hooks(cfg, ('data_size', 'sample_errors', 'checkpoint_match'))
    check_data(cfg, 'test_dataloader')
    runner = build_runner(cfg)
    if args.out is not None:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    added = add_metrics(runner, args.add_metrics)
    if args.corruptions is None:
        runner.test()
    else:
        path = Path(runner.work_dir) / CORRUPTIONS_FILE
        evaluate_corruptions(runner, corruptions, path, added, args.corrupted_images)


def make_parser(prog: str | None = None) -> VerbParser:
    """Return the argument parser.

    Args:
        prog (str, optional): Name of the program. Defaults to None.

    Returns:
        VerbParser: The parser.
    """
    parser = VerbParser(prog, __doc__, EXAMPLES)
    add_runner_arguments(parser)
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='a path or a URL')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions to this file')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions and write the images to this folder')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation with the tta_* entries of the config'
    )
    parser.add_argument(
        '--split',
        choices=SPLITS,
        default='test',
        help='the data loader and the evaluator that are used (default: test)',
    )
    parser.add_argument(
        '--add-metrics',
        nargs='+',
        default=(),
        metavar='TYPE',
        help='types of further metrics: mmrazor.Calibration',
    )
    parser.add_argument(
        '--corruptions',
        nargs='*',
        metavar='NAME[:SEVERITY]',
        help='evaluate the images without corruption, and with each of these corruptions of ImageNet-C: fog snow:3; without a '
        'severity, with 1, 3 and 5; without a name, 14 of its 15 corruptions (all but glass_blur); '
        f'the metrics are appended to {CORRUPTIONS_FILE} in the work directory',
    )
    parser.add_argument(
        '--corrupted-images',
        metavar='DIR',
        help='with --corruptions: a folder that keeps the corrupted images, for the evaluation of further models',
    )
    return parser


def enable_drawing(cfg: Config, show: bool, folder: str | None) -> None:
    """Switch on the visualization hook.

    The hooks of mmdet, mmseg and mmpretrain have different names for the same options; each receives those that it takes.

    Args:
        cfg (Config): The config, which is changed.
        show (bool): Whether the predictions are shown in a window.
        folder (str, optional): Folder for the images.

    Raises:
        ConfigValueError: The config has no visualization hook.
    """
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise ConfigValueError(
            "--show and --show-dir need a hook that draws, but default_hooks has no 'visualization': add the hook of the codebase, "
            "dict(type='DetVisualizationHook') for example."
        )
    options = {'draw': True, 'enable': True, 'show': show, 'test_out_dir': folder, 'out_dir': folder}
    with HOOKS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        # A pure Python config names the class.
        kind = hook.type if isinstance(hook.type, type) else registry.get(hook.type)
        accepted = inspect.signature(kind).parameters
    hook.update({name: value for name, value in options.items() if name in accepted})
    if folder is not None:
        cfg.visualizer.save_dir = folder


def enable_tta(cfg: Config) -> None:
    """Wrap model and test pipeline in test-time augmentation.

    Args:
        cfg (Config): The config, which is changed.

    Raises:
        ConfigValueError: The config has no ``tta_model`` or no ``tta_pipeline``.
    """
    missing = [name for name in ('tta_model', 'tta_pipeline') if name not in cfg]
    if missing:
        raise ConfigValueError(
            f'--tta needs tta_model and tta_pipeline, but the config has no {" and no ".join(missing)}: add them.'
        )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
