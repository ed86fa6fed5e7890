"""Measurements of a distillation before it is trained: gradients, time and memory of a few steps on real batches."""

import contextlib
import copy
import gc
import io
import logging
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lckd_mm.engine.dataset_info import class_names
from lckd_mm.models.utils import build_model

from .benchmark import synchronized_time
from .configs import load_config, use_amp
from .distill_plan import Request, model_source
from .distillation import load_distillation
from .gradients import LossGradient, measure_gradients
from .teacher_metric import TeacherMetric, evaluate_teacher, main_metric

# Steps are repeated until one of these is reached.
_MAX_STEPS, _MAX_SECONDS = 5, 30.0


class Cost(NamedTuple):
    """Cost of a training step.

    Attributes:
        seconds: Median duration of a step, without the loading of the data.
        memory: Largest memory in bytes: of the GPU, or of the process on a CPU; None where it cannot be measured.
    """

    seconds: float
    memory: int | None


class Inspection(NamedTuple):
    """What is measured before a training.

    Attributes:
        measurement: Gradients, time and memory of a few steps.
        teacher: The teacher's evaluation; None if there was none.
        metric: Name of the main metric; None without an evaluation.
        problem: The error that ended the teacher's evaluation; empty if there was none.
    """

    measurement: 'Measurement'
    teacher: TeacherMetric | None
    metric: str | None
    problem: str = ''


class Measurement(NamedTuple):
    """Measurements of a distillation at its start.

    Attributes:
        gradients: The losses of one batch.
        alone: Cost of a step of the student alone.
        distilled: Cost of a step of the distillation.
        classes: Names of the classes of the training data; None if they do not state them.
        batch_size: Images in the batch.
        device: ``'cpu'``, ``'cuda'`` and so on.
    """

    gradients: dict[str, LossGradient]
    alone: Cost
    distilled: Cost
    classes: tuple[str, ...] | None
    batch_size: int
    device: str


def inspect_distillation(
    config: str, request: Request, use_mixed_precision: bool, max_seconds: float | None
) -> Inspection:
    """Measure a distillation, and evaluate its teacher, in a process of their own, whose memory is free afterwards.

    Args:
        config (str): The config of the distillation.
        request (Request): Student and teacher.
        use_mixed_precision (bool): Whether the training uses automatic mixed precision.
        max_seconds (float, optional): Limit of the teacher's evaluation; None to leave it out.

    Returns:
        Inspection: The results.

    Raises:
        ConfigError: As in the first step of the training.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn')) as executor:
        return executor.submit(_inspect, config, request, use_mixed_precision, max_seconds).result()


def _inspect(config: str, request: Request, use_mixed_precision: bool, max_seconds: float | None) -> Inspection:
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    student_cfg = load_config(request.student, request.student_options)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # The standard output is redirected below.
    with Progress(*columns, transient=True, console=Console(stderr=True)) as progress:
        bar = progress.add_task('measuring a few steps', total=None)
        measurement = measure_distillation(config, request, use_mixed_precision)
        teacher, metric, problem = None, None, ''
        if max_seconds is not None:
            progress.update(bar, description='evaluating the teacher')

            def show(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            try:
                # Metrics print tables.
                with contextlib.redirect_stdout(io.StringIO()):
                    source = model_source(request.teacher, request.teacher_options)
                    teacher = evaluate_teacher(source, request.checkpoint, student_cfg, max_seconds, show)
                metric = main_metric(student_cfg, list(teacher.metrics))
            # The evaluation informs; the training does not need it.
            except Exception as error:
                problem = f'{type(error).__name__}: {" ".join(str(error).split())}'
    return Inspection(measurement, teacher, metric, problem)


def measure_distillation(config: str, request: Request, use_mixed_precision: bool = False) -> Measurement:
    """Take a few training steps of the student alone and of the distillation, on one batch of the training data.

    The models are built for the measurement. The teacher's checkpoint is loaded strictly, and the student starts from the weights with
    which its training starts.

    Args:
        config (str): The config of the distillation.
        request (Request): The student.
        use_mixed_precision (bool): Whether the training uses automatic mixed precision. Defaults to False.

    Returns:
        Measurement: The measurements.

    Raises:
        ConfigError: As in the first step of a training.
    """
    device = get_device()
    cfg = load_config(config)
    if use_mixed_precision:
        use_amp(cfg)
    student = revert_sync_batchnorm(build_model(model_source(request.student, request.student_options)))
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        loader = Runner.build_dataloader(_in_process(cfg.train_dataloader), seed=0)
        data = next(iter(loader))
        alone = _Step(student.to(device), cfg, data)
        memory = [alone.peak_memory()]
        # It is built after the measurement of the student alone, whose memory would contain it.
        _, distillation = load_distillation(config)
        distilled = _Step(distillation.to(device), cfg, data)
        batch = distillation.data_preprocessor(copy.deepcopy(data), True)
        gradients = measure_gradients(distillation, batch)
        memory.append(distilled.peak_memory())
        costs = [Cost(*values) for values in zip(_alternate([alone, distilled]), memory, strict=True)]
    classes = class_names(loader.dataset)
    return Measurement(
        gradients=gradients,
        alone=costs[0],
        distilled=costs[1],
        classes=None if classes is None else tuple(classes),
        batch_size=len(data['inputs']),
        device=device,
    )


class _Step:
    """Training steps of a model on one batch."""

    def __init__(self, model: BaseModel, cfg: Config, data: Any) -> None:
        self.model, self.data = model.train(), data
        self.device = next(model.parameters()).device.type
        self.wrapper = build_optim_wrapper(model, cfg.optim_wrapper)

    def seconds(self) -> float:
        # A data preprocessor may change its batch.
        batch = copy.deepcopy(self.data)
        start = synchronized_time(self.device)
        self.model.train_step(batch, self.wrapper)
        return synchronized_time(self.device) - start

    def peak_memory(self) -> int | None:
        gc.collect()
        reset_peak_memory(self.device)
        self.seconds()
        return peak_memory(self.device)


def _alternate(steps: Sequence[_Step]) -> list[float]:
    """Return the median duration of each step; the steps take turns, so that other work on the machine affects all of them."""
    times: list[list[float]] = [[] for _ in steps]
    start = time.monotonic()
    while len(times[0]) < _MAX_STEPS and (not times[0] or time.monotonic() - start < _MAX_SECONDS):
        for step, durations in zip(steps, times, strict=True):
            durations.append(step.seconds())
    return [statistics.median(durations) for durations in times]


def _in_process(loader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a data loader without worker processes, which take longer to start than one batch takes."""
    options = ('prefetch_factor', 'timeout', 'multiprocessing_context')
    return {
        **{key: value for key, value in loader.items() if key not in options},
        'num_workers': 0,
        'persistent_workers': False,
    }


def reset_peak_memory(device: str) -> None:
    """Let :func:`peak_memory` begin anew.

    Args:
        device (str): ``'cpu'`` or ``'cuda'``.
    """
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        # Linux, proc(5): resets the peak resident set size of the process.
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:
        # Without the permission, the peak is that of the whole process.
        return


def peak_memory(device: str) -> int | None:
    """Return the largest memory since :func:`reset_peak_memory`, in bytes.

    Args:
        device (str): ``'cpu'`` or ``'cuda'``.

    Returns:
        int, optional: Memory of the tensors on the GPU, or of the process on a CPU; None for another device.

    Example:
        >>> reset_peak_memory('cpu')
        >>> peak_memory('cpu') > 1e6
        True
    """
    if device == 'cuda':
        return torch.cuda.max_memory_allocated()
    if device != 'cpu':
        return None
    try:
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('VmHWM:'))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
