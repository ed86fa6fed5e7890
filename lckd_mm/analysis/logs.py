"""The scalars that mmengine's local backend writes during training."""

import json
from pathlib import Path
from typing import Any, NamedTuple

Reading = dict[str, Any]


class Scalars(NamedTuple):
    """Scalars of all runs in a work directory; a later run overrides an earlier one.

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
    scalars = Scalars({}, {})
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                reading = json.loads(line)
            except json.JSONDecodeError:
                continue
            readings = scalars.train if 'loss' in reading else scalars.val
            readings[reading['step']] = reading
    return scalars


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
