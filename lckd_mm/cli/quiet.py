"""Verbs that print tables suppress the messages of the libraries, for their own duration only."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings, and log messages up to the level of warnings. The previous state is restored at the end.

    Example:
        >>> with quiet():
        ...     logging.getLogger('quiet').isEnabledFor(logging.WARNING)
        False
        >>> logging.getLogger('quiet').isEnabledFor(logging.WARNING)
        True
    """
    previous = logging.root.manager.disable
    logging.disable(max(logging.WARNING, previous))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(previous)
