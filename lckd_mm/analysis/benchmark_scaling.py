"""Training steps in one process and in several: how much of the added speed a distillation keeps, compared with its student alone."""

import contextlib
import copy
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

from .benchmark_contenders import Batch, lckd_distiller, make_classification_batch, make_detection_batch, make_models
from .benchmark_rounds import Limits, Times, measure_rounds
from .benchmark_step import Settings as StepSettings
from .benchmark_step import make_step

BASELINE, LCKD = 'student alone', 'LCKD'
_END = -1


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        pair: A key of ``PAIRS``.
        processes: Number of processes, 2 or more.
        threads: Number of threads of each process.
        images: Number of images of each process.
        size: Height and width of the images of a detector.
        limits: How long to measure.
    """

    pair: str = 'classifier'
    processes: int = 2
    threads: int = 1
    images: int = 8
    size: tuple[int, int] = (384, 512)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Scaling:
    """The result.

    Attributes:
        seconds: Seconds of each round by step, see :func:`step_name`.
        num_bytes: Bytes of the gradients that the processes reduce in a step, by model.
        num_tensors: Number of these gradients by model.
        num_images: Number of images of each process.
        num_processes: Number of processes.
    """

    seconds: Times
    num_bytes: dict[str, int]
    num_tensors: dict[str, int]
    num_images: int
    num_processes: int


def step_name(model: str, num_processes: int) -> str:
    """Return the name of a step.

    Example:
        >>> step_name('LCKD', 1), step_name('LCKD', 2)
        ('LCKD, 1 process', 'LCKD, 2 processes')
    """
    return f'{model}, {num_processes} process' + ('es' if num_processes > 1 else '')


def measure_scaling(settings: Settings, on_progress: Callable[[str], None]) -> Scaling:
    """Measure the steps of both models in one process and in several, which reduce their gradients by gloo.

    Each process has the same number of images and threads in both cases. While one process measures alone, the others wait.

    Args:
        settings (Settings): How to measure.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        Scaling: The result.
    """
    context = torch.multiprocessing.get_context('spawn')
    num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        store = f'file://{folder}/store'
        helpers = [
            context.Process(target=_help, args=(rank, store, settings), daemon=True)
            for rank in range(1, settings.processes)
        ]
        for helper in helpers:
            helper.start()
        try:
            with _group(0, store, settings):
                return _lead(settings, on_progress)
        finally:
            torch.set_num_threads(num_threads)
            for helper in helpers:
                helper.join(10)
                helper.terminate()


@contextlib.contextmanager
def _group(rank: int, store: str, settings: Settings) -> Iterator[None]:
    torch.set_num_threads(settings.threads)
    dist.init_process_group('gloo', init_method=store, rank=rank, world_size=settings.processes)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _lead(settings: Settings, on_progress: Callable[[str], None]) -> Scaling:
    """Measure the steps of this process alone, and together with the helpers."""
    on_progress('building the models')
    models = _make_models(settings)
    batch = _make_batch(settings)
    step_settings = StepSettings()
    copies = {name: copy.deepcopy(model) for name, model in models.items()}
    wrapped = _wrap(models)
    computations = {step_name(name, 1): make_step(model, batch, step_settings) for name, model in copies.items()}
    for index, (name, model) in enumerate(wrapped.items()):
        together = _joint_step(make_step(model, batch, step_settings))
        computations[step_name(name, settings.processes)] = _commanded(index, together)
    try:
        ratios = [(step_name(name, 1), step_name(name, settings.processes)) for name in models]
        seconds = measure_rounds(computations, ratios, settings.limits, on_progress)
    finally:
        _broadcast(_END)
    data = {name: model._get_ddp_logging_data() for name, model in wrapped.items()}
    return Scaling(
        seconds,
        {name: values['total_parameter_size_bytes'] for name, values in data.items()},
        {name: values['num_parameter_tensors'] for name, values in data.items()},
        settings.images,
        settings.processes,
    )


def _help(rank: int, store: str, settings: Settings) -> None:
    """Take the steps that the first process commands."""
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    with _group(rank, store, settings):
        batch = _make_batch(settings)
        steps = [
            _joint_step(make_step(model, batch, StepSettings())) for model in _wrap(_make_models(settings)).values()
        ]
        while (index := _broadcast(_END)) != _END:
            steps[index]()


def _make_models(settings: Settings) -> dict[str, BaseModel]:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmrazor'):
        student, teacher = make_models(settings.pair)
        networks = dict(architecture=copy.deepcopy(student), teacher=teacher, allow_random_teacher=True)
        distillation = MODELS.build(dict(type='LipschitzDistill', distiller=lckd_distiller(), **networks))
        # Training steps are refused without it.
        distillation.init_weights()
    return {BASELINE: student, LCKD: distillation}


def _make_batch(settings: Settings) -> Batch:
    if settings.pair == 'faster_rcnn':
        return make_detection_batch(settings.size, 'cpu', settings.images)
    return make_classification_batch(settings.images, 'cpu')


def _wrap(models: dict[str, BaseModel]) -> dict[str, Any]:
    """Wrap the models as the Runner does by default, which does not look for unused parameters."""
    return {
        name: MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=False)
        for name, model in models.items()
    }


def _joint_step(step: Callable[[], float]) -> Callable[[], float]:
    """Return a step that all processes start at the same time, and that takes as long as the slowest of them."""

    def joint() -> float:
        dist.barrier()
        seconds = torch.tensor(step())
        dist.all_reduce(seconds, dist.ReduceOp.MAX)
        return float(seconds)

    return joint


def _commanded(index: int, step: Callable[[], float]) -> Callable[[], float]:
    def command() -> float:
        _broadcast(index)
        return step()

    return command


def _broadcast(index: int) -> int:
    """Send the index of a step from the first process; the others receive it."""
    message = torch.tensor(index)
    dist.broadcast(message, 0)
    return int(message)
