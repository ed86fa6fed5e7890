"""The entry of ``sys.path`` that depends on how the interpreter was started."""

import sys


def replace_first_entry(folder: str) -> None:
    """Replace the first entry of ``sys.path``, which the interpreter has added for its script or module.

    With ``-I``, and since Python 3.11 with ``-P``, the interpreter adds none; then nothing is replaced.

    Args:
        folder (str): The new entry.
    """
    if not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False)):
        sys.path[0] = folder
