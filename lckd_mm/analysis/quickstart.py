"""The demonstration: a teacher, a student alone and the same student with LCKD are trained on the bundled data set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.registry import MODELS, DefaultScope

from lckd_mm.engine.norm_log import plot_norms, read_norms
from lckd_mm.errors import ConfigRuntimeError

from .comparison_statistics import mean_and_deviation
from .configs import load_config
from .logs import median_seconds, read_scalars
from .plotting import new_figure, save_figure
from .tables import print_table
from .training import log_message, run_training


class Task(NamedTuple):
    """A vision task of the demonstration.

    Attributes:
        configs: Names of the configs of teacher, student alone, and student with LCKD.
        metric: Name of the metric in the log.
        axis: Name of the metric in table and plot.
        scale: Factor that converts the metric to a share.
        title: Description of the data.
        minutes: Approximate duration on two CPU cores.
        losses: The distillation losses of the block of the task.
    """

    configs: tuple[str, str, str]
    metric: str
    axis: str
    scale: float
    title: str
    minutes: int
    losses: str

    @property
    def roles(self) -> tuple[str, str, str]:
        """Names of the three models."""
        return 'teacher', 'student alone', f'student with {self.losses}'


TASKS = {
    'detection': Task(
        ('faster_rcnn_r50_digits', 'faster_rcnn_r18_digits', 'lckd_faster_rcnn_r50_r18_digits'),
        'pascal_voc/mAP',
        'mAP at IoU 0.5',
        1.0,
        'Digit scenes, 120 validation images',
        12,
        'LCKD',
    ),
    'segmentation': Task(
        ('deeplabv3plus_r18w32_digits', 'deeplabv3plus_r18w8_digits', 'lckd_deeplabv3plus_r18w32_r18w8_digits'),
        'mIoU',
        'mIoU',
        0.01,
        'Masks of the digits, 120 validation images',
        6,
        'LCKD and CWD',
    ),
    'classification': Task(
        ('resnet_w16_digits', 'resnet_w4_digits', 'lckd_resnet_w16_w4_digits'),
        'accuracy/top1',
        'top-1 accuracy',
        0.01,
        'Crops of the digits, 792 validation images',
        2,
        'LCKD and PKD',
    ),
}


def config_path(name: str) -> str:
    """Return the path of a config of the demonstration.

    Args:
        name (str): Its name.

    Returns:
        str: The path.

    Example:
        >>> config_path('resnet_w4_digits')
        'configs/demo/resnet_w4_digits.py'
    """
    return f'configs/demo/{name}.py'


def work_dir(name: str) -> Path:
    """Return the work directory of a config of the demonstration.

    Args:
        name (str): Its name.

    Returns:
        Path: The work directory.
    """
    return Path('work_dirs') / name


def train_role(task: Task, role: str, is_fresh: bool, say: Callable[[str], None]) -> None:
    """Train one of the models, or the rest of an interrupted training. Epochs and metrics are printed.

    Args:
        task (Task): The task.
        role (str): One of ``task.roles``.
        is_fresh (bool): Whether an earlier training is deleted first.
        say (Callable[[str], None]): Prints a message.

    Raises:
        ConfigRuntimeError: The training failed.
    """
    name = task.configs[task.roles.index(role)]
    config, folder = config_path(name), work_dir(name)
    if is_fresh:
        shutil.rmtree(folder, ignore_errors=True)
    num_epochs = load_config(config).train_cfg.max_epochs
    if (folder / f'epoch_{num_epochs}.pth').exists():
        say(f'{role}: already trained ({folder})')
        return
    say(f'{role}: training {config}, log in {folder / "train.log"}')

    def show(line: str) -> None:
        message = log_message(line)
        if 'Epoch(train)' in message or task.metric in message:
            print(f'  {message[:150]}', flush=True)

    try:
        run_training(config, folder, on_line=show)
    except ConfigRuntimeError as error:
        print('\n'.join((folder / 'train.log').read_text().splitlines()[-25:]), flush=True)
        raise ConfigRuntimeError(f'the training of the {role} failed: {error}') from error


def count_parameters(config: str) -> int:
    """Count the parameters of the deployed model; in a distillation this is the student.

    Args:
        config (str): Path of the config.

    Returns:
        int: Number of parameters.
    """
    cfg = load_config(config)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    return sum(parameter.numel() for parameter in getattr(model, 'architecture', model).parameters())


def read_reference(name: str) -> dict[str, Any] | None:
    """Read the comparison of baseline and LCKD over several seeds, ``comparison.json`` of ``compare``.

    Args:
        name (str): Name of the task.

    Returns:
        dict, optional: The comparison; None if ``configs/demo`` does not contain it.
    """
    path = Path('configs/demo') / f'results_{name}.json'
    return json.loads(path.read_text()) if path.is_file() else None


def reference_cells(task: Task, reference: dict[str, Any]) -> list[str]:
    """Return mean and standard deviation over the seeds of a comparison for each role; the teacher has one seed.

    Args:
        task (Task): The task.
        reference (dict): The comparison.

    Returns:
        list[str]: One text for each of ``task.roles``.

    Example:
        >>> variants = [dict(values={'0': 60.0, '1': 62.0}), dict(values={'0': 65.0, '1': 67.0})]
        >>> reference_cells(TASKS['classification'], dict(variants=variants))
        ['', '0.610 ± 0.014', '0.660 ± 0.014']
    """
    cells = ['']
    for variant in reference['variants']:
        mean, deviation = mean_and_deviation([value * task.scale for value in variant['values'].values()])
        cells.append(f'{mean:.3f} ± {deviation:.3f}' if deviation is not None else f'{mean:.3f}')
    return cells


def report_task(name: str, path: Path) -> None:
    """Print the table of a task and draw its figure: the metric during the training, and the spectral norms.

    The table also shows what other seeds gave, since one seed proves nothing.

    Args:
        name (str): Name of the task, trained.
        path (Path): The image file.
    """
    task, reference = TASKS[name], read_reference(name)
    scalars = [read_scalars(work_dir(name)) for name in task.configs]
    values = [
        {step: reading[task.metric] * task.scale for step, reading in sorted(part.val.items())} for part in scalars
    ]
    rows = []
    for role, config, course, part in zip(task.roles, task.configs, values, scalars, strict=True):
        millions = count_parameters(config_path(config)) / 1e6
        rows.append([role, f'{millions:.3f} M', f'{course[max(course)]:.3f}', f'{median_seconds(part.train):.3f}'])
    header = ['model', 'parameters', task.axis, 's / iteration']
    if reference is not None:
        header.insert(3, f'{len(reference["seeds"])} seeds, measured before')
        for row, cell in zip(rows, reference_cells(task, reference), strict=True):
            row.insert(3, cell)
    print_table(f'{task.title}, after the last epoch', header, rows)
    if reference is not None:
        print(reference['sentences'][0])

    norms = read_norms(work_dir(task.configs[-1]) / 'lipschitz' / 'spectral_norms.csv')
    num_panels = 1 + len({row['pair'] for row in norms})
    figure, axes = new_figure(1, num_panels, size=(3.3 * num_panels, 3.3))
    styles, colors = ('--', '-', '-'), ('black', 'tab:blue', 'tab:orange')
    for role, course, style, color in zip(task.roles, values, styles, colors, strict=True):
        axes[0].plot(list(course), list(course.values()), style, color=color, marker='.', label=role)
    axes[0].set(title=f'{task.axis}, validation', xlabel='epoch', ylabel=task.axis, ylim=(0, 1))
    axes[0].grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    plot_norms(axes[1:], norms)
    save_figure(figure, path)
