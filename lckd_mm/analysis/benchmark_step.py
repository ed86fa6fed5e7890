"""Time, memory and operations of a whole training step (forward, backward, optimizer) of several models on the same batch."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from lckd_mm.errors import ConfigRuntimeError

from .benchmark import peak_memory, synchronized_time
from .benchmark_contenders import (
    CHEAPEST,
    PAIRS,
    RATIOS,
    STEPS,
    TEACHER_STEPS,
    Batch,
    make_classification_batch,
    make_contenders,
    make_detection_batch,
    make_models,
)
from .benchmark_rounds import Limits, Times, measure_rounds
from .operations import SYNCHRONIZATIONS, count_operations


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: ``'cpu'`` or ``'cuda'``.
        amp: Data type under autocast, ``'float16'`` or ``'bfloat16'``; None for float32.
        tf32: Whether a GPU may round the factors of float32 products to TF32.
        size: Height and width of the two images of the detector.
        images: Number of images of the classifier.
        steps: The steps that are measured.
        limits: How long to measure.
    """

    device: str = 'cpu'
    amp: str | None = None
    tf32: bool = False
    size: tuple[int, int] = (384, 512)
    images: int = 16
    steps: tuple[str, ...] = STEPS
    limits: Limits = field(default_factory=Limits)

    @property
    def precision(self) -> str:
        """The precision in words: ``'float32'``, ``'TF32'``, or the data type under autocast."""
        return self.amp or ('TF32' if self.tf32 else 'float32')


@contextlib.contextmanager
def tf32_allowed(is_allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in products and convolutions within the context; PyTorch's default allows it in convolutions only.

    Args:
        is_allowed (bool): Whether it is allowed.
    """
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = is_allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


@dataclass(frozen=True)
class Measurement:
    """The result for one pair of networks.

    Attributes:
        seconds: Seconds of each round by step.
        memory: Peak memory of a step in bytes, in addition to the model and the batch, by step.
        operations: Number of tensor operations by step.
        synchronizations: Number of operations for which the host waits by step.
    """

    seconds: Times
    memory: dict[str, int]
    operations: dict[str, int]
    synchronizations: dict[str, int]


def make_step(model: BaseModel, batch: Batch, settings: Settings) -> Callable[[], float]:
    """Return a function that takes one training step and returns its duration in seconds.

    Args:
        model (BaseModel): The model, or a data parallel wrapper of one; it is moved to the device.
        batch (Batch): Images and annotations.
        settings (Settings): Device and precision.

    Returns:
        Callable[[], float]: The function.
    """
    model.to(settings.device).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # With such a small learning rate the loss stays constant, and all steps do the same work.
    optimizer = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9)
    autocast: dict[str, Any] = dict(dtype=getattr(torch, settings.amp)) if settings.amp else dict(enabled=False)

    def step() -> float:
        images, samples = batch[0], copy.deepcopy(batch[1])
        start = synchronized_time(settings.device)
        with torch.autocast(settings.device, **autocast):
            losses = model(images, samples, mode='loss')
            total, _ = getattr(model, 'module', model).parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seconds = synchronized_time(settings.device) - start
        if not torch.isfinite(total):
            raise ConfigRuntimeError(f'the loss is {float(total)} ({dict(losses)}): measure without --amp.')
        return seconds

    return step


def make_teacher_forwards(model: BaseModel, batch: Batch, settings: Settings) -> dict[str, Callable[[], float]]:
    """Return functions that run the teacher of a distillation alone and return the duration in seconds.

    Args:
        model (BaseModel): The distillation.
        batch (Batch): Images and annotations.
        settings (Settings): Device and precision.

    Returns:
        dict[str, Callable[[], float]]: The whole teacher as it is, without a gradient, and the teacher as the distillation runs it.
    """
    model.to(settings.device).train()
    autocast: dict[str, Any] = dict(dtype=getattr(torch, settings.amp)) if settings.amp else dict(enabled=False)

    def measure(forward: Callable[..., Any], **options: Any) -> float:
        images, samples = batch[0], copy.deepcopy(batch[1])
        start = synchronized_time(settings.device)
        with torch.no_grad(), torch.autocast(settings.device, **autocast):
            forward(images, samples, **options)
        seconds = synchronized_time(settings.device) - start
        for taps in model.distiller.network_taps.values():
            taps.clear()
        return seconds

    return {
        'teacher alone, whole': lambda: measure(model.teacher, mode='loss'),
        'teacher alone, cheapest': lambda: measure(model._run_teacher, examined=True),
    }


def measure_pair(pair: str, settings: Settings, on_progress: Callable[[str], None]) -> Measurement:
    """Measure the training steps of one pair of networks.

    Args:
        pair (str): A key of ``PAIRS``.
        settings (Settings): How to measure.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        Measurement: The result.
    """
    with tf32_allowed(settings.tf32):
        return _measure_pair(pair, settings, on_progress)


def _measure_pair(pair: str, settings: Settings, on_progress: Callable[[str], None]) -> Measurement:
    torch.manual_seed(0)
    on_progress(f'{PAIRS[pair]}: building the models')
    is_detector = pair == 'faster_rcnn'
    batch = (
        make_detection_batch(settings.size, settings.device)
        if is_detector
        else make_classification_batch(settings.images, settings.device)
    )
    with DefaultScope.overwrite_default_scope('mmrazor'):
        contenders = make_contenders(pair, *make_models(pair), settings.steps)
    steps = {name: make_step(model, batch, settings) for name, model in contenders.items()}
    if TEACHER_STEPS & set(settings.steps):
        steps |= make_teacher_forwards(contenders[CHEAPEST], batch, settings)
    steps = {name: step for name, step in steps.items() if name in settings.steps}
    seconds = measure_rounds(steps, tuple(RATIOS), settings.limits, lambda text: on_progress(f'{PAIRS[pair]}, {text}'))
    memory: dict[str, int] = {}
    operations: dict[str, int] = {}
    synchronizations: dict[str, int] = {}
    for name, step in steps.items():
        on_progress(f'{PAIRS[pair]}: {name}, memory and operations')
        memory[name] = peak_memory(step, settings.device)
        counts = count_operations(step)
        operations[name] = sum(counts.values())
        # The check of the loss at the end of a step is not part of a training; the teacher alone has none.
        synchronizations[name] = max(sum(counts[operation] for operation in SYNCHRONIZATIONS) - 1, 0)
    return Measurement(seconds, memory, operations, synchronizations)
