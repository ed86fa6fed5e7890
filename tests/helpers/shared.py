"""Things that are expensive to make: made once per test run, also by parallel workers."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that ``make`` has filled; parallel workers of one test run share it.

    Args:
        factory (pytest.TempPathFactory): The factory of the session.
        name (str): Name of the folder.
        make (Callable[[Path], None]): Fills the folder, which exists.
    """
    base = factory.getbasetemp()
    # A worker of pytest-xdist has a folder of its own inside that of the test run.
    base = base.parent if base.name.startswith('popen-') else base
    folder, done = base / f'shared_{name}', base / f'shared_{name}.done'
    with (base / f'shared_{name}.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder
