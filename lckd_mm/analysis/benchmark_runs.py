"""Time of whole trainings by ``train``: of a student alone, of its distillation, and of the same distillation by MMRazor's algorithm."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from lckd_mm.engine.hooks.run_time_hook import RUN_TIME_FILE
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError
from lckd_mm.models.utils import build_model

from .benchmark_rounds import Limits, measure_rounds
from .configs import load_config, parse_options
from .training import log_message, run_training

BASELINE, LCKD, BARE, MMRAZOR = 'student alone', 'LCKD', 'LCKD, without its hooks', 'MMRazor, same losses'
KINDS = {
    BASELINE: 'the baseline',
    LCKD: 'the distillation as it is configured',
    BARE: 'the distillation without the hooks that measure or balance its losses, which MMRazor does not have',
    MMRAZOR: "the same with MMRazor's SingleTeacherDistill",
}
# Classes of hooks that need LipschitzDistill.
_HOOKS = ('LipschitzBalanceHook', 'LipschitzMonitorHook', 'LossWeightSchedulerHook')


@dataclass(frozen=True)
class Experiment:
    """The trainings that are compared.

    Attributes:
        baseline: The config of the student.
        distillation: The config of the distillation with ``LipschitzDistill``.
        options: Overrides of both configs, as of ``--cfg-options``.
        teacher_ckpt: The checkpoint of the teacher; empty for one with random weights.
    """

    baseline: str
    distillation: str
    options: tuple[str, ...] = ()
    teacher_ckpt: str = ''


@dataclass(frozen=True)
class RunTime:
    """The seconds of one training.

    Attributes:
        total: From the start of the process to its end.
        start_up: From the start of the process to the first epoch.
        data_loading: Waiting for batches.
        iterations: Training steps with their hooks.
        evaluation: Evaluations, checkpoints and other hooks between epochs.
        num_images: Number of training images.
    """

    total: float
    start_up: float
    data_loading: float
    iterations: float
    evaluation: float
    num_images: int

    @property
    def training(self) -> float:
        """Seconds of the training steps, the loading of their data included."""
        return self.data_loading + self.iterations


def plan_runs(experiment: Experiment, folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Determine the config and the overrides of each kind of training.

    Args:
        experiment (Experiment): The trainings.
        folder (Path): Receives ``teacher.pth``, the teacher with random weights.

    Returns:
        dict[str, tuple[str, list[str]]]: Config and overrides by key of ``KINDS``.

    Raises:
        ConfigValueError: The config of the distillation is none of ``LipschitzDistill``.
    """
    cfg = load_config(experiment.distillation, parse_options(experiment.options))
    model = cfg.get('model') or {}
    if str(model.get('type')).rpartition('.')[2] != 'LipschitzDistill' or 'cfg_path' not in model.get('teacher', {}):
        raise ConfigValueError(
            f'{experiment.distillation} has model.type={model.get("type")!r}: name a config of LipschitzDistill whose teacher has a '
            'cfg_path, such as lckd_mm::demo/lckd_resnet_w16_w4_digits.py.'
        )
    checkpoint = experiment.teacher_ckpt or str(_write_random_teacher(cfg, folder / 'teacher.pth'))
    common = [*experiment.options, 'default_hooks.run_time.type=mmrazor.RunTimeHook']
    ours = [*common, f'model.teacher_ckpt={checkpoint}']
    bare = [*ours, *(f'default_hooks.{name}=None' for name in _hook_names(cfg))]
    return {
        BASELINE: (experiment.baseline, common),
        LCKD: (experiment.distillation, ours),
        BARE: (experiment.distillation, bare),
        MMRAZOR: (experiment.distillation, [*bare, *_mmrazor_options(cfg)]),
    }


def _write_random_teacher(cfg: Config, path: Path) -> Path:
    model = build_model(cfg.model.teacher.to_dict())
    model.init_weights()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def _hook_names(cfg: Config) -> Iterator[str]:
    """Yield the names in ``default_hooks`` of the hooks that MMRazor does not have."""
    for name, hook in (cfg.get('default_hooks') or {}).items():
        if str((hook or {}).get('type')).rpartition('.')[2] in _HOOKS:
            yield name


def _mmrazor_options(cfg: Config) -> Iterator[str]:
    """Yield the overrides that exchange the algorithm. The distiller is kept: its taps need no counterpart in MMRazor."""
    yield 'model.type=mmrazor.SingleTeacherDistill'
    preprocessor = cfg.get('data_preprocessor')
    if cfg.model.architecture.get('data_preprocessor') is not None:
        # A Runner passes that of the top level, which in mmseg lacks the size of the student's own.
        yield 'model.data_preprocessor=None'
    elif preprocessor is not None and 'type' not in preprocessor:
        # mmpretrain leaves out the type, which MMRazor needs.
        yield 'data_preprocessor.type=mmpretrain.ClsDataPreprocessor'


def measure_runs(
    runs: Mapping[str, tuple[str, Sequence[str]]], num_rounds: int, folder: Path, on_progress: Callable[[str], None]
) -> dict[str, list[RunTime]]:
    """Train each kind once per round, in random order, one training at a time.

    Args:
        runs (Mapping[str, tuple[str, Sequence[str]]]): Config and overrides by name.
        num_rounds (int): Number of rounds.
        folder (Path): Receives the work directory of the present training.
        on_progress (Callable[[str], None]): Receives what is running.

    Returns:
        dict[str, list[RunTime]]: The times of each round by name.
    """
    times: dict[str, list[RunTime]] = {name: [] for name in runs}

    def computation(name: str, config: str, options: Sequence[str]) -> Callable[[], float]:
        def compute() -> float:
            times[name].append(
                measure_run(config, options, folder / 'run', lambda text: on_progress(f'{name}: {text}'))
            )
            return times[name][-1].total

        return compute

    measure_rounds(
        {name: computation(name, *run) for name, run in runs.items()}, (), Limits(num_rounds, 0.0, 0.0, 0), on_progress
    )
    return times


def measure_run(config: str, options: Sequence[str], work_dir: Path, on_progress: Callable[[str], None]) -> RunTime:
    """Train a config from its beginning, in a process of its own.

    Args:
        config (str): The config.
        options (Sequence[str]): Its overrides, which contain a ``RunTimeHook``.
        work_dir (Path): The work directory; an earlier one is deleted, and this one as well after the training.
        on_progress (Callable[[str], None]): Receives messages of the training.

    Returns:
        RunTime: The times.

    Raises:
        ConfigRuntimeError: The training failed.
    """
    shutil.rmtree(work_dir, ignore_errors=True)
    start, clock = time.time(), time.perf_counter()
    run_training(config, work_dir, ['--cfg-options', *options], on_line=lambda line: _show(line, on_progress))
    total = time.perf_counter() - clock
    path = work_dir / RUN_TIME_FILE
    if not path.is_file():
        raise ConfigRuntimeError(f'the training of {config} wrote no {path}: keep default_hooks.run_time.')
    record: dict[str, Any] = json.loads(path.read_text())
    shutil.rmtree(work_dir)
    return RunTime(total, record['started'] - start, num_images=record['num_images'], **record['seconds'])


def _show(line: str, on_progress: Callable[[str], None]) -> None:
    message = log_message(line)
    if message.startswith('Epoch('):
        on_progress(message[:40])
