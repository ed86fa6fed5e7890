"""The report of the benchmark of training steps in several processes."""

import statistics

from .benchmark_rounds import describe_ratio, estimate_ratio
from .benchmark_scaling import BASELINE, LCKD, Scaling, step_name
from .comparison_statistics import paired_ratio
from .tables import markdown_table


def efficiencies(scaling: Scaling, model: str) -> list[float]:
    """Return the scaling efficiency of each round: images per second of all processes, per process, over those of one process alone.

    Args:
        scaling (Scaling): The result.
        model (str): Name of the model.

    Returns:
        list[float]: One number for each round.

    Example:
        >>> efficiencies(Scaling({'LCKD, 1 process': [3.0], 'LCKD, 2 processes': [4.0]}, {}, {}, 8, 2), 'LCKD')
        [0.75]
    """
    # All processes have the same number of images.
    alone, together = (scaling.seconds[step_name(model, number)] for number in (1, scaling.num_processes))
    return [first / second for first, second in zip(alone, together, strict=True)]


def report_lines(scaling: Scaling) -> list[str]:
    """Return the table in Markdown.

    Args:
        scaling (Scaling): The result.

    Returns:
        list[str]: The lines.
    """
    number = scaling.num_processes
    header = [
        'training step',
        'images / s, 1 process',
        f'images / s, {number} processes',
        'scaling efficiency',
        'reduced gradients',
        'MiB',
    ]
    rows = []
    for model in (BASELINE, LCKD):
        alone, together = step_name(model, 1), step_name(model, number)
        rates = [
            count * scaling.num_images / statistics.median(scaling.seconds[name])
            for name, count in ((alone, 1), (together, number))
        ]
        efficiency = describe_ratio(estimate_ratio(scaling.seconds, (alone, together)))
        reduced = [str(scaling.num_tensors[model]), f'{scaling.num_bytes[model] / 2**20:.1f}']
        rows.append([model, *(f'{rate:.2f}' for rate in rates), efficiency, *reduced])
    ratio = describe_ratio(paired_ratio(efficiencies(scaling, LCKD), efficiencies(scaling, BASELINE)))
    num_rounds = len(scaling.seconds[step_name(LCKD, 1)])
    return [
        f'{scaling.num_images} images per process, {num_rounds} rounds',
        '',
        *markdown_table(header, rows),
        '',
        f'Scaling efficiency of LCKD / that of the student alone: {ratio}',
    ]
