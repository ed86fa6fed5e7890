"""Which corruptions a comparison evaluates."""

from dataclasses import dataclass

from lckd_mm.engine.corruptions import CORRUPTIONS, DEFAULT_CORRUPTIONS, DEFAULT_SEVERITIES, SEVERITIES
from lckd_mm.errors import ConfigValueError, unknown_name


@dataclass(frozen=True)
class Robustness:
    """The evaluation of the confirmed runs on corrupted images.

    Attributes:
        corruptions: Names of corruptions.
        severities: Severities, from 1 to 5.
        metrics: Types of further metrics, ``'mmrazor.Calibration'`` for example.
        options: Overrides of the configs in these evaluations.
    """

    corruptions: tuple[str, ...] = DEFAULT_CORRUPTIONS
    severities: tuple[int, ...] = DEFAULT_SEVERITIES
    metrics: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Reject unknown corruptions and severities."""
        for name in self.corruptions:
            if name not in CORRUPTIONS:
                raise ConfigValueError(
                    f'in robustness, {unknown_name("corruption", name, CORRUPTIONS, max_listed=len(CORRUPTIONS))}'
                )
        for severity in self.severities:
            if severity not in SEVERITIES:
                raise ConfigValueError(
                    f'in robustness, severity {severity!r} is not an integer from 1 to 5: correct it.'
                )
        for key, values in (
            ('corruptions', self.corruptions),
            ('severities', self.severities),
            ('metrics', self.metrics),
        ):
            if len(set(values)) < len(values):
                raise ConfigValueError(f'robustness.{key}={list(values)!r} contains a value twice: write each once.')

    @property
    def evaluations(self) -> list[tuple[str, int]]:
        """All pairs of corruption and severity.

        Example:
            >>> Robustness(('fog', 'snow'), (1, 5)).evaluations
            [('fog', 1), ('fog', 5), ('snow', 1), ('snow', 5)]
        """
        return [(name, severity) for name in self.corruptions for severity in self.severities]
