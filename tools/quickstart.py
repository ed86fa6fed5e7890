"""The main job on the bundled set: a teacher, a student alone, the same student taught; then a table and a picture.

What is complete from an earlier run is kept, what was cut off is resumed. Logs go to work_dirs/*/train.log.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    'teacher': 'faster_rcnn_r50_digits',
    'student alone': 'faster_rcnn_r18_digits',
    'student with LCKD': 'lckd_faster_rcnn_digits',
}
METRIC = 'pascal_voc/mAP'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--fresh', action='store_true', help='train everything again')
    args = parser.parse_args()
    os.chdir(ROOT)
    begun = time.monotonic()
    say('some 12 minutes on 2 cores the first time, a minute afterwards')
    run([sys.executable, 'tools/dataset_converters/make_demo_set.py'])
    for name, config in CONFIGS.items():
        train(name, config, args.fresh)
    student = Path('work_dirs') / CONFIGS['student with LCKD'] / 'student.pth'
    last = last_checkpoint(student.parent)
    run([sys.executable, '-W', 'ignore', 'tools/model_converters/export_student.py', str(last), str(student)])
    report()
    say(f'done in {(time.monotonic() - begun) / 60:.1f} minutes; the plain student, for its plain config: {student}')


def say(text: str) -> None:
    print(f'[quick start] {text}', flush=True)


def run(command: List[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f'[quick start] stopped: `{" ".join(command[1:])}` failed, see above.')


def last_checkpoint(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text().strip())


def epochs_wanted() -> int:
    from mmengine.config import Config

    return Config.fromfile(f'configs/demo/{CONFIGS["teacher"]}.py').train_cfg.max_epochs


def train(name: str, config: str, fresh: bool) -> None:
    """Train one config, or what is left of it; its epochs are shown, the whole log goes to a file."""
    work_dir = Path('work_dirs') / config
    if fresh:
        shutil.rmtree(work_dir, ignore_errors=True)
    if (work_dir / f'epoch_{epochs_wanted()}.pth').exists():
        say(f'{name}: trained already ({work_dir})')
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / 'train.log'
    say(f'{name}: training configs/demo/{config}.py, log in {log}')
    command = [sys.executable, '-u', '-W', 'ignore', 'tools/train.py', f'configs/demo/{config}.py', '--resume']
    with (
        log.open('a') as file,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        for line in process.stdout:
            file.write(line)
            file.flush()
            if 'Epoch(train)' in line or METRIC in line:
                _, _, shown = line.partition('INFO - ')
                print(f'  {" ".join(shown.split())[:150]}', flush=True)
    if process.returncode:
        sys.stdout.write(''.join(log.read_text().splitlines(keepends=True)[-25:]))
        sys.exit(f'[quick start] stopped: training the {name} failed; the whole log is {log}.')


def scalars(config: str) -> Dict[str, Dict[int, dict]]:
    """Of every run in the work dir, later ones over earlier ones: training readings by iteration, mAP by epoch."""
    found: Dict[str, Dict[int, dict]] = {'train': {}, 'val': {}}
    for path in sorted((Path('work_dirs') / config).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            reading = json.loads(line)
            found['val' if METRIC in reading else 'train'][reading['step']] = reading
    return found


def n_parameters(config: str) -> int:
    """Parameters of the model that is deployed: of a distillation, of its student."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    import lckd_mm  # noqa: F401

    cfg = Config.fromfile(f'configs/demo/{config}.py')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    return sum(parameter.numel() for parameter in getattr(model, 'architecture', model).parameters())


def report() -> None:
    """Print the table and draw work_dirs/quickstart.png."""
    import warnings

    warnings.filterwarnings('ignore')
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from rich.console import Console
    from rich.table import Table

    from lckd_mm.engine.hooks.lipschitz_monitor_hook import plot_norms, read_norms

    found = {name: scalars(config) for name, config in CONFIGS.items()}
    table = Table(title='Digit scenes, 120 validation images, after the last epoch')
    for column in ('model', 'parameters', 'mAP', 's / iteration'):
        table.add_column(column, justify='left' if column == 'model' else 'right')
    for name, config in CONFIGS.items():
        last = found[name]['val'][max(found[name]['val'])]
        # The first reading includes the warm-up of the caches.
        times = sorted(reading['time'] for step, reading in found[name]['train'].items() if step > 20)
        table.add_row(
            name, f'{n_parameters(config) / 1e6:.2f} M', f'{last[METRIC]:.3f}', f'{times[len(times) // 2]:.2f}'
        )
    Console().print(table)

    norms = read_norms(Path('work_dirs') / CONFIGS['student with LCKD'] / 'lipschitz' / 'spectral_norms.csv')
    n_panels = 1 + len({row['pair'] for row in norms})
    figure, axes = plt.subplots(1, n_panels, figsize=(3.3 * n_panels, 3.3), layout='constrained')
    for (name, readings), style in zip(found.items(), ('k--', '-', '-')):
        epochs = sorted(readings['val'])
        color = dict(zip(CONFIGS, ('black', 'tab:blue', 'tab:orange')))[name]
        axes[0].plot(
            epochs, [readings['val'][e][METRIC] for e in epochs], style.strip('k'), color=color, marker='.', label=name
        )
    axes[0].set(title='mAP on the validation set', xlabel='epoch', ylabel='mAP at IoU 0.5', ylim=(0, 1))
    axes[0].grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    plot_norms(list(axes[1:]), norms)
    picture = Path('work_dirs') / 'quickstart.png'
    figure.savefig(picture, dpi=120)
    say(f'picture: {picture}')


if __name__ == '__main__':
    main()
