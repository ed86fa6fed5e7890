"""Lets setup.py of mmcv 2.1.0 run with Python 3.13; imported at the start of each Python with this folder on PYTHONPATH.

mmcv's `get_version` executes `mmcv/version.py` by `exec` and reads the result from `locals()`. Since Python 3.13 (PEP 667) `locals()` of a
function returns a new snapshot at each call, which does not contain what `exec` assigned: "KeyError: '__version__'". The variables of a
frame keep it.
"""

import builtins
import sys
from types import CodeType
from typing import Any

_exec = builtins.exec


def exec_in_frame(
    source: str | bytes | CodeType, globals: dict | None = None, locals: Any = None, /, **options: Any
) -> None:
    """Execute code as `exec` does; without namespaces, what it assigns appears in `locals()` of the calling function."""
    if globals is None:
        frame = sys._getframe(1)
        globals, locals = frame.f_globals, frame.f_locals if locals is None else locals
    _exec(source, globals, locals, **options)


if sys.version_info >= (3, 13):
    builtins.exec = exec_in_frame
