"""Trainings and evaluations that take no time, for tests of comparisons."""

import sys
from pathlib import Path
from typing import Any

import pytest

from lckd_mm.analysis import comparison_report, training
from lckd_mm.analysis.comparison_results import read_results
from lckd_mm.cli.compare import main

# Writes the log of a training, and its checkpoint. The metric is gain + 10 * seed + epoch; the evaluation adds 100 to it. A corruption
# subtracts its severity times the length of its name.
TRAINING = """
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument('config')
parser.add_argument('--work-dir', type=pathlib.Path)
parser.add_argument('--resume', action='store_true')
parser.add_argument('--amp', action='store_true')
parser.add_argument('--cfg-options', nargs='+', default=())
args = parser.parse_args()
options = dict(option.split('=', 1) for option in args.cfg_options)
print('options', sorted(options))
if options.get('broken'):
    sys.exit('it is broken')
if 'sleep' in options:
    (args.work_dir / 'started').write_text(str(os.getpid()))
    time.sleep(float(options['sleep']))
if args.config == 'teacher.py':
    print('11/25 10:00:00 - mmengine - INFO - Epoch(train) [1][1/1]')
    (args.work_dir / options.get('writes', 'epoch_1.pth')).touch()
    sys.exit()
seed = int(options.get('randomness.seed', 0))
folder = args.work_dir / 'run' / 'vis_data'
folder.mkdir(parents=True, exist_ok=True)
gain = float(options.get('gain', 0)) + float(options.get('bonus', 0)) * (seed + 1)
lines = [dict(loss=2.0, time=9.0, step=1), dict(loss=1.0, time=0.5, step=2)]
lines += [{'loss': 0.5, 'distill.loss': 0.1, 'time': 0.3, 'step': 3}]
lines += [{'acc': gain + 10 * seed + epoch, 'step': epoch} for epoch in (1, 2, 3)]
(folder / 'scalars.json').write_text(''.join(json.dumps(line) + chr(10) for line in lines) + '{"cut off')
(args.work_dir / 'epoch_3.pth').write_text(str(gain + 10 * seed + 3))
(args.work_dir / 'last_checkpoint').write_text(str(args.work_dir / 'epoch_3.pth'))
"""
EVALUATION = """
import argparse, json, pathlib
parser = argparse.ArgumentParser()
parser.add_argument('config')
parser.add_argument('checkpoint', type=pathlib.Path)
parser.add_argument('--work-dir', type=pathlib.Path)
parser.add_argument('--cfg-options', nargs='+', default=())
parser.add_argument('--split')
parser.add_argument('--add-metrics', nargs='+', default=())
parser.add_argument('--corruptions', nargs='*')
parser.add_argument('--corrupted-images')
args = parser.parse_args()
options = dict(option.split('=', 1) for option in args.cfg_options)
if args.corruptions is not None:
    start = float(args.checkpoint.read_text()) + 100
    print('options', sorted(options), args.split, flush=True)
    print('images', args.corrupted_images, *args.corruptions, flush=True)
    # Without names, the verb evaluates its default corruptions, none of which is asked for.
    assert args.corruptions
    for text in ('none:0', *(text for text in args.corruptions if text != 'none')):
        name, severity = text.split(':')
        if text == options.get('fails_at'):
            raise SystemExit(f'{text} failed')
        metrics = {'acc': start - int(severity) * len(name), 'calibration/ece': start / 10 + int(severity)}
        added = ['calibration/ece'] if args.add_metrics else []
        line = dict(corruption=name, severity=int(severity), metrics=metrics, added=added, seconds=0.1)
        with (args.work_dir / 'corruptions.jsonl').open('a') as file:
            file.write(json.dumps(line) + chr(10))
        print(text, flush=True)
    raise SystemExit
folder = args.work_dir / '20260101_000000'
folder.mkdir(parents=True)
value = float(args.checkpoint.read_text()) + 100 + float(options.get('shift', 0))
(folder / '20260101_000000.json').write_text(json.dumps({'acc': value, 'time': 0.1}))
"""
CONFIG = """
val_dataloader = dict(dataset=dict(type='Photographs', split='val', pipeline=[]))
test_dataloader = dict(dataset=dict(type='Photographs', split='test', pipeline=[]))
val_evaluator = dict(type='Accuracy')
test_evaluator = dict(type='Accuracy')
"""
VARIANTS = ('plain: a.py', 'better: a.py gain=5')


def compare(*arguments: str, seeds: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
    """Run a comparison in the folder ``out``.

    Args:
        *arguments: A YAML file or variants, and options.
        seeds (tuple[int, ...]): The seeds of variants. Defaults to (0,).

    Returns:
        list[dict[str, Any]]: The lines of ``results.jsonl``.
    """
    metric = [] if arguments[0].endswith('.yml') else ['--metric', 'acc', '--seeds', *map(str, seeds)]
    main([*arguments, *metric, '--out', 'out'])
    return read_results('out/results.jsonl')


def install_fake_training(folder: Path, monkeypatch: pytest.MonkeyPatch, plots: bool = False) -> None:
    """Replace trainings and evaluations, and change to a folder with the configs ``a.py`` and ``b.py``.

    Args:
        folder (Path): The folder.
        monkeypatch (MonkeyPatch): Restores the commands.
        plots (bool): Whether comparisons are plotted, which takes a second. Defaults to False.
    """
    if not plots:
        for name in ('plot_comparison', 'plot_robustness'):
            monkeypatch.setattr(comparison_report, name, lambda *_: None)
    for name, text in (('train', TRAINING), ('test', EVALUATION)):
        (folder / f'fake_{name}.py').write_text(text)
        monkeypatch.setattr(
            training, f'{name.upper()}_COMMAND', (sys.executable, '-I', '-S', str(folder / f'fake_{name}.py'))
        )
    for name in ('a.py', 'b.py', 'teacher.py'):
        (folder / name).write_text(CONFIG)
    monkeypatch.chdir(folder)
