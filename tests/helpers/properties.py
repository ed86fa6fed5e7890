"""Settings of property tests: reproducible, and more examples with ``--slow``."""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest


def examples(number: int, slow: int) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that runs a property test with a number of examples, and with more in a second test that is marked slow.

    Args:
        number (int): Examples of a usual test run.
        slow (int): Examples with ``--slow``.
    """

    def decorate(test: Callable[..., Any]) -> Any:
        def run(max_examples: int) -> Any:
            # The examples are the same in each run, and have no time limit: other processes share the cores.
            return hypothesis.settings(
                max_examples=max_examples,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )

        @pytest.mark.parametrize('max_examples', [number, pytest.param(slow, marks=pytest.mark.slow)])
        def check(max_examples: int) -> None:
            run(max_examples)(test)()

        check.__name__, check.__doc__ = test.__name__, test.__doc__
        return check

    return decorate
