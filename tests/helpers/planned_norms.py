"""The spectral norms in a given formulation."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lckd_mm.spectral import transmitting_spectral_norms
from lckd_mm.spectral.planning import Plan, force_plan


def planned_norms(features: Sequence[Tensor], plan: Plan | None, **options: Any) -> Tensor:
    """Return the norms of a chain of maps; without a plan, in the fastest formulation."""
    with force_plan(plan):
        return transmitting_spectral_norms(features, **options)
