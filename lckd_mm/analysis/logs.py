"""The scalars that mmengine's local backend writes during training."""

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

Reading = dict[str, Any]


class Scalars(NamedTuple):
    """Scalars of all runs in a work directory; a later run replaces what an earlier one wrote from its first step on.

    Attributes:
        train: Losses, times and learning rates by iteration.
        val: Metrics by epoch, or by iteration in an iteration-based training.
    """

    train: dict[int, Reading]
    val: dict[int, Reading]


def read_scalars(work_dir: str | Path) -> Scalars:
    r"""Read every ``vis_data/scalars.json`` in a work directory.

    An incomplete line, which an interrupted training leaves, is omitted.

    Args:
        work_dir (str | Path): The work directory.

    Returns:
        Scalars: The scalars by step.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / 'run' / 'vis_data' / 'scalars.json'
        ...     path.parent.mkdir(parents=True)
        ...     _ = path.write_text('{"loss": 0.5, "step": 10}\n{"mIoU": 40.0, "step": 1}\n{"mIoU": 4')
        ...     read_scalars(folder)
        Scalars(train={10: {'loss': 0.5, 'step': 10}}, val={1: {'mIoU': 40.0, 'step': 1}})
    """
    train: dict[int, Reading] = {}
    val: dict[int, Reading] = {}
    # Evaluations are counted in epochs or in iterations: the last iteration that was logged before each one tells which of them a later
    # run replaces.
    logged_before: dict[int, int] = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        readings = _read_lines(path)
        first_step = min((reading['step'] for reading in readings if 'loss' in reading), default=math.inf)
        first_evaluation = min((reading['step'] for reading in readings if 'loss' not in reading), default=math.inf)
        train = {step: reading for step, reading in train.items() if step < first_step}
        val = {
            step: reading
            for step, reading in val.items()
            if logged_before[step] < first_step and step < first_evaluation
        }
        for reading in readings:
            if 'loss' in reading:
                train[reading['step']] = reading
            else:
                val[reading['step']] = reading
                logged_before[reading['step']] = max(train, default=0)
    return Scalars(train, val)


def _read_lines(path: Path) -> list[Reading]:
    readings = []
    for line in path.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            readings.append(json.loads(line))
    return readings


def median_seconds(readings: dict[int, Reading]) -> float:
    """Return the median duration of an iteration; the first reading, which includes the warm-up, is omitted if there are others.

    Args:
        readings (dict[int, Reading]): Scalars of the training by iteration.

    Returns:
        float: Seconds.

    Example:
        >>> median_seconds({1: {'time': 9.0}, 2: {'time': 0.5}, 3: {'time': 0.3}})
        0.5
    """
    steps = sorted(readings)
    times = sorted(readings[step]['time'] for step in steps[1:] or steps)
    return times[len(times) // 2]
