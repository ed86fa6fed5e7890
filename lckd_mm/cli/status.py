"""The state of long work that has no progress bar."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

INTERVAL = 60.0
"""Seconds between two lines in a log."""


@contextmanager
def show_status(text: str = '', clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str], None]]:
    """Show what is being done: on a terminal in one line that changes, in a log by a line per minute.

    Args:
        text (str): What is being done at first. Defaults to ''.
        clock (Callable[[], float]): Returns a time in seconds. Defaults to ``time.monotonic``.

    Yields:
        Callable[[str], None]: Receives what is being done.

    Example:
        >>> with show_status() as update:
        ...     update('round 1')
    """
    if sys.stderr.isatty():
        with Console(stderr=True).status(text) as status:
            yield status.update
        return
    last = -INTERVAL

    def update(text: str) -> None:
        nonlocal last
        if text and clock() - last >= INTERVAL:
            last = clock()
            print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)

    update(text)
    yield update
