"""The main job on the bundled set: a teacher, a student alone, the same student taught; then a table and a picture.

Of a detector by default, of a segmentor or of a classifier. What is complete from an earlier run is kept, what was cut off is
resumed. Logs go to work_dirs/*/train.log.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

warnings.filterwarnings('ignore')

ROOT = Path(__file__).resolve().parents[1]
NAMES = ('teacher', 'student alone', 'student with LCKD')


class Task(NamedTuple):
    """One of the things that can be demonstrated."""

    configs: Tuple[str, str, str]
    metric: str
    axis: str
    scale: float
    """What the metric is multiplied by to be a share."""

    title: str
    minutes: int

    def named(self) -> Dict[str, str]:
        return dict(zip(NAMES, self.configs))


TASKS = {
    'detection': Task(
        ('faster_rcnn_r50_digits', 'faster_rcnn_r18_digits', 'lckd_faster_rcnn_digits'),
        'pascal_voc/mAP',
        'mAP at IoU 0.5',
        1.0,
        'Digit scenes, 120 validation images',
        12,
    ),
    'segmentation': Task(
        ('deeplabv3plus_r18w32_digits', 'deeplabv3plus_r18w8_digits', 'lckd_deeplabv3plus_digits'),
        'mIoU',
        'mIoU',
        0.01,
        'Masks of the digits, 120 validation images',
        6,
    ),
    'classification': Task(
        ('resnet_w16_digits', 'resnet_w4_digits', 'lckd_resnet_digits'),
        'accuracy/top1',
        'top-1 accuracy',
        0.01,
        'Crops of the digits, 792 validation images',
        2,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('task', nargs='?', choices=[*TASKS, 'all'], default='detection')
    parser.add_argument('--fresh', action='store_true', help='train everything again')
    args = parser.parse_args()
    os.chdir(ROOT)
    begun = time.monotonic()
    chosen = list(TASKS) if args.task == 'all' else [args.task]
    say(f'some {sum(TASKS[name].minutes for name in chosen)} minutes on 2 cores the first time, one afterwards')
    run([sys.executable, 'tools/dataset_converters/make_demo_set.py'])
    for name in chosen:
        task = TASKS[name]
        for role, config in task.named().items():
            train(task, role, config, args.fresh)
        student = Path('work_dirs') / task.configs[-1] / 'student.pth'
        last = last_checkpoint(student.parent)
        run([sys.executable, '-W', 'ignore', 'tools/model_converters/export_student.py', str(last), str(student)])
        say(f'the plain student, for configs/demo/{task.configs[1]}.py: {student}')
        report(name)
    say(f'done in {(time.monotonic() - begun) / 60:.1f} minutes')


def say(text: str) -> None:
    print(f'[quick start] {text}', flush=True)


def run(command: List[str]) -> None:
    if subprocess.run(command, check=False).returncode:
        sys.exit(f'[quick start] stopped: `{" ".join(command[1:])}` failed, see above.')


def last_checkpoint(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text().strip())


def epochs_wanted(config: str) -> int:
    from mmengine.config import Config

    return Config.fromfile(f'configs/demo/{config}.py').train_cfg.max_epochs


def train(task: Task, name: str, config: str, fresh: bool) -> None:
    """Train one config, or what is left of it; its epochs are shown, the whole log goes to a file."""
    work_dir = Path('work_dirs') / config
    if fresh:
        shutil.rmtree(work_dir, ignore_errors=True)
    if (work_dir / f'epoch_{epochs_wanted(config)}.pth').exists():
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
            _, _, shown = line.partition('INFO - ')
            if 'Epoch(train)' in shown or task.metric in shown:
                print(f'  {" ".join(shown.split())[:150]}', flush=True)
    if process.returncode:
        sys.stdout.write(''.join(log.read_text().splitlines(keepends=True)[-25:]))
        sys.exit(f'[quick start] stopped: training the {name} failed; the whole log is {log}.')


def n_parameters(config: str) -> int:
    """Parameters of the model that is deployed: of a distillation, of its student."""
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    import lckd_mm  # noqa: F401

    cfg = Config.fromfile(f'configs/demo/{config}.py')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    return sum(parameter.numel() for parameter in getattr(model, 'architecture', model).parameters())


def report(task_name: str) -> None:
    """Print the table and draw the picture."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from rich.console import Console
    from rich.table import Table

    from lckd_mm.engine.hooks.lipschitz_monitor_hook import plot_norms, read_norms
    from lckd_mm.engine.scalars import read_scalars

    task = TASKS[task_name]
    configs = task.named()
    found = {name: read_scalars(Path('work_dirs') / config) for name, config in configs.items()}
    values = {
        name: {e: r[task.metric] * task.scale for e, r in sorted(readings.val.items())}
        for name, readings in found.items()
    }
    table = Table(title=f'{task.title}, after the last epoch')
    for column in ('model', 'parameters', task.axis, 's / iteration'):
        table.add_column(column, justify='left' if column == 'model' else 'right')
    for name, config in configs.items():
        # The first reading includes the warm-up of the caches.
        times = sorted(found[name].train[step]['time'] for step in sorted(found[name].train)[1:])
        last = values[name][max(values[name])]
        table.add_row(name, f'{n_parameters(config) / 1e6:.3f} M', f'{last:.3f}', f'{times[len(times) // 2]:.3f}')
    Console().print(table)

    norms = read_norms(Path('work_dirs') / task.configs[-1] / 'lipschitz' / 'spectral_norms.csv')
    n_panels = 1 + len({row['pair'] for row in norms})
    figure, axes = plt.subplots(1, n_panels, figsize=(3.3 * n_panels, 3.3), layout='constrained')
    for name, style, color in zip(configs, ('--', '-', '-'), ('black', 'tab:blue', 'tab:orange')):
        axes[0].plot(list(values[name]), list(values[name].values()), style, color=color, marker='.', label=name)
    axes[0].set(title=f'{task.axis}, validation', xlabel='epoch', ylabel=task.axis, ylim=(0, 1))
    axes[0].grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    plot_norms(list(axes[1:]), norms)
    picture = Path('work_dirs') / f'quickstart_{task_name}.png'
    figure.savefig(picture, dpi=120)
    say(f'picture: {picture}')


if __name__ == '__main__':
    main()
