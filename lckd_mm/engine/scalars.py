"""What mmengine's local backend wrote down of a training."""

import json
from pathlib import Path
from typing import Dict, NamedTuple, Union


class Scalars(NamedTuple):
    """Readings of all runs in a work dir, later ones over earlier ones.

    Attributes:
        train: By iteration, what the logger hook wrote: losses, times, rates.
        val: By epoch (or iteration, of an iteration-based training), the metrics.
    """

    train: Dict[int, dict]
    val: Dict[int, dict]


def read_scalars(work_dir: Union[str, Path]) -> Scalars:
    """Read every ``vis_data/scalars.json`` below a work dir; a last line that was cut off is left out."""
    found = Scalars({}, {})
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            try:
                reading = json.loads(line)
            except json.JSONDecodeError:
                continue
            (found.train if 'loss' in reading else found.val)[reading['step']] = reading
    return found
