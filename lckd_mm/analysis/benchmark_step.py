"""Time of a whole training step (forward, backward, optimizer) of several models on the same batch."""

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor

from lckd_mm.errors import ConfigRuntimeError
from lckd_mm.models.connectors import SpectralNormConnector

from .benchmark import synchronized_time
from .benchmark_contenders import (
    PAIRS,
    STEPS,
    Batch,
    make_classification_batch,
    make_contenders,
    make_detection_batch,
    make_models,
)
from .plotting import new_figure, save_figure
from .tables import markdown_table

# Keys of the measurements inside the step; all other keys are names of steps.
LOSS, STEP_OF_LOSS = 'lipschitz loss', 'step of the lipschitz loss'
Times = dict[str, list[float]]


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: ``'cpu'`` or ``'cuda'``.
        amp: Data type under autocast, ``'float16'`` or ``'bfloat16'``; None for float32.
        size: Height and width of the two images of the detector.
        images: Number of images of the classifier.
        steps: The steps that are measured.
        repeats: Number of measurements.
        warmup: Number of steps before them.
    """

    device: str = 'cpu'
    amp: str | None = None
    size: tuple[int, int] = (384, 512)
    images: int = 16
    steps: tuple[str, ...] = STEPS
    repeats: int = 9
    warmup: int = 1


class LossClock:
    """Context that adds up the time in the spectral norms: forward pass of both networks, and backward pass.

    The time does not contain the adapters, nor the addition of the gradients to those of the task.

    Args:
        clock (Callable[[], float]): Returns the time in seconds after all work has finished.

    Attributes:
        seconds: The time so far.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._forward = SpectralNormConnector.forward_networks

    def __enter__(self) -> 'LossClock':
        clock = self

        def forward(connector: SpectralNormConnector, *args: Any, **kwargs: Any) -> list[Tensor]:
            clock.add(-1)
            norms = clock._forward(connector, *args, **kwargs)
            clock.add(1)
            # All networks have the same node of the graph.
            for node in {network.grad_fn for network in norms if network.grad_fn is not None}:
                node.register_prehook(lambda _: clock.add(-1))
                node.register_hook(lambda *_: clock.add(1))
            return norms

        setattr(SpectralNormConnector, 'forward_networks', forward)  # noqa: B010  (mypy refuses the assignment to a method)
        return self

    def add(self, sign: int) -> None:
        """Add the current time with a sign: -1 at the start of an interval, 1 at its end.

        Args:
            sign (int): The sign.
        """
        self.seconds += sign * self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        setattr(SpectralNormConnector, 'forward_networks', self._forward)  # noqa: B010  (as above)


def make_step(model: BaseModel, batch: Batch, settings: Settings) -> Callable[[], float]:
    """Return a function that takes one training step and returns its duration in seconds.

    Args:
        model (BaseModel): The model; it is moved to the device.
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
            total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        seconds = synchronized_time(settings.device) - start
        if not torch.isfinite(total):
            raise ConfigRuntimeError(f'the loss is {float(total)} ({dict(losses)}): measure without --amp.')
        return seconds

    return step


def measure_pair(pair: str, settings: Settings, on_progress: Callable[[str], None]) -> Times:
    """Measure the training steps of one pair of networks.

    Args:
        pair (str): A key of ``PAIRS``.
        settings (Settings): How to measure.
        on_progress (Callable[[str], None]): Receives what is being measured.

    Returns:
        Times: Seconds of each repetition by step. The spectral norms are measured in further steps, since their clock synchronizes
        with the device.
    """
    torch.manual_seed(0)
    on_progress(f'{PAIRS[pair]}: building the models')
    is_detector = pair == 'faster_rcnn'
    batch = (
        make_detection_batch(settings.size, settings.device)
        if is_detector
        else make_classification_batch(settings.images, settings.device)
    )
    with DefaultScope.overwrite_default_scope('mmrazor'):
        contenders = make_contenders(pair, *make_models(pair))
    steps = {name: make_step(model, batch, settings) for name, model in contenders.items() if name in settings.steps}
    times: Times = {name: [] for name in steps}
    for repeat in range(settings.warmup + settings.repeats):
        for name, step in steps.items():
            on_progress(f'{PAIRS[pair]}: {name}, step {repeat + 1} of {settings.warmup + settings.repeats}')
            seconds = step()
            if repeat >= settings.warmup:
                times[name].append(seconds)
    times[LOSS], times[STEP_OF_LOSS] = [], []
    for repeat in range(settings.repeats if 'LCKD' in steps else 0):
        on_progress(f'{PAIRS[pair]}: spectral norms, step {repeat + 1} of {settings.repeats}')
        with LossClock(lambda: synchronized_time(settings.device)) as clock:
            times[STEP_OF_LOSS].append(steps['LCKD']())
        times[LOSS].append(clock.seconds)
    return times


def report_lines(pair: str, times: Times) -> list[str]:
    """Return the report of one pair in Markdown. Ratios compare the fastest steps, which other processes disturb least.

    Args:
        pair (str): A key of ``PAIRS``.
        times (Times): Result of :func:`measure_pair`.

    Returns:
        list[str]: The lines.
    """
    names = _step_names(times)
    rows = []
    for name in names:
        milliseconds = [statistics.median(times[name]) * 1e3, min(times[name]) * 1e3]
        ratios = [_ratio(times, name, reference) for reference in ('student alone', 'MMRazor, same losses')]
        rows.append([name, *(f'{value:.0f}' for value in milliseconds), *ratios])
    header = ['step', 'median ms', 'fastest ms', '/ student alone', '/ MMRazor, same losses']
    lines = [f'{PAIRS[pair]}, {len(times[names[0]])} rounds', '', *markdown_table(header, rows)]
    if times[LOSS]:
        shares = [loss / step for loss, step in zip(times[LOSS], times[STEP_OF_LOSS], strict=True)]
        lines += [
            '',
            f'The spectral norms take {statistics.median(times[LOSS]) * 1e3:.1f} ms, {100 * statistics.median(shares):.1f} % of the '
            'step of LCKD (medians, measured inside the connector, without adapters).',
        ]
    return lines


def _step_names(times: Times) -> list[str]:
    return [name for name in times if name not in (LOSS, STEP_OF_LOSS)]


def _ratio(times: Times, name: str, reference: str) -> str:
    return f'{min(times[name]) / min(times[reference]):.2f}' if reference in times else ''


def plot_steps(results: Mapping[str, Times], path: Path, title: str) -> None:
    """Plot the fastest step of each model.

    Args:
        results (Mapping[str, Times]): Results of :func:`measure_pair` by pair.
        path (Path): The image file.
        title (str): The title.
    """
    figure, axes = new_figure(1, len(results), size=(6 * len(results), 3.2))
    for axis, (pair, times) in zip(axes, results.items(), strict=True):
        names = _step_names(times)
        values = [min(times[name]) * 1e3 for name in names]
        bars = axis.barh(names, values, color=_bar_colors(names))
        axis.bar_label(bars, [f'{value:.0f}' for value in values], padding=3, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set(title=PAIRS[pair], xlabel='milliseconds per training step (fastest)')
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)


def _bar_colors(names: Sequence[str]) -> list[str]:
    return ['lightgray', *('tab:orange' if name.startswith('LCKD') else 'tab:blue' for name in names[1:])]
