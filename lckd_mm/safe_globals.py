"""The names that a checkpoint may use while it is read."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def only_safe_globals(allowed: Iterable[Any]) -> Iterator[None]:
    """Let ``torch.load(..., weights_only=True)`` accept nothing but given names.

    ``torch.serialization.safe_globals`` adds to the list of the process, in which other libraries may have put names that are not
    safe: mmengine of the stack onedl allows ``getattr`` while it reads a checkpoint.

    Args:
        allowed (Iterable): Callables, or pairs of a callable and the name in the file that it replaces.

    Example:
        >>> with only_safe_globals([print]):
        ...     torch.serialization.get_safe_globals()
        [<built-in function print>]
    """
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        torch.serialization.add_safe_globals(list(allowed))
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
