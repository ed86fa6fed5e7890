"""Power laws, fitted to measurements at several sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from .comparison_statistics import LEVEL


@dataclass(frozen=True)
class PowerLaw:
    """A power law ``factor * size ** exponent``.

    Attributes:
        exponent: The exponent.
        low: Lower end of its 95 % interval; None for two sizes, through which every line passes.
        high: Upper end of its 95 % interval; None for two sizes.
        factor: The value at size 1.
    """

    exponent: float
    low: float | None
    high: float | None
    factor: float

    def __call__(self, size: float) -> float:
        """Return the value at a size."""
        return float(self.factor * size**self.exponent)

    def __str__(self) -> str:
        """Return the exponent with its interval for a table."""
        interval = '' if self.low is None else f' ({self.low:.2f} to {self.high:.2f})'
        return f'{self.exponent:.2f}{interval}'


def fit_power_law(sizes: Sequence[float], values: Sequence[float]) -> PowerLaw:
    """Fit a power law by least squares on the logarithms.

    Args:
        sizes (Sequence[float]): Two or more positive sizes.
        values (Sequence[float]): The positive values at these sizes.

    Returns:
        PowerLaw: The law. Student's t interval of the exponent covers the deviations of the values from the law, whatever their cause.

    Example:
        >>> law = fit_power_law([1, 2, 4, 8], [3.0, 6.1, 11.9, 24.0])
        >>> print(law)
        1.00 (0.96 to 1.03)
        >>> round(law(16), 1)
        47.8
    """
    line = stats.linregress(np.log(sizes), np.log(values))
    factor = float(np.exp(line.intercept))
    if len(sizes) < 3:
        return PowerLaw(float(line.slope), None, None, factor)
    half = float(stats.t.isf(LEVEL / 2, len(sizes) - 2) * line.stderr)
    return PowerLaw(float(line.slope), float(line.slope) - half, float(line.slope) + half, factor)
