from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


class FiniteCheck:
    """Find out whether the losses of a training are finite, without waiting for a GPU.

    A finite loss has been computed from finite maps, so that the maps themselves need no check. On a CPU the losses of each step are
    read in that step. On a GPU only those of the first step are, which show a checkpoint with invalid weights; afterwards the result is
    copied to the host in the background, and read in the first later step that finds the copy complete. If a loss was not finite, the
    losses of that later step are read at once, as long as its maps are recorded.

    Args:
        is_deferred (bool, optional): Whether to copy in the background. Defaults to None: if the losses are on a GPU.

    Example:
        >>> check = FiniteCheck()
        >>> check.is_finite([torch.ones(())]), check.is_finite([torch.tensor(torch.inf)])
        (True, False)
    """

    def __init__(self, is_deferred: bool | None = None) -> None:
        self._is_deferred = is_deferred
        self._reads_at_once = True
        # Whether all losses since the start of the last copy are finite, on their device.
        self._since_copy: Tensor | None = None
        # The copy under way, in host memory, and the event that ends it; None on a CPU, which copies at once.
        self._copy: tuple[np.ndarray, Any] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> FiniteCheck:
        # An event of a device cannot be copied, and the copy of a model is another training.
        return FiniteCheck(self._is_deferred)

    def __reduce__(self) -> tuple[Any, ...]:
        return FiniteCheck, (self._is_deferred,)

    def is_finite(self, losses: Iterable[Tensor]) -> bool | None:
        """Return whether the losses of a step are finite.

        Args:
            losses (Iterable[Tensor]): The losses, of any shape.

        Returns:
            bool, optional: Whether all of them are finite; None if that is not known yet.
        """
        values = [loss.detach().sum().float() for loss in losses]
        if not values:
            return True
        is_finite = torch.stack(values).isfinite().all()
        deferred = is_finite.is_cuda if self._is_deferred is None else self._is_deferred
        if not deferred or self._reads_at_once:
            self._reads_at_once = False
            return bool(is_finite)
        self._since_copy = is_finite if self._since_copy is None else self._since_copy & is_finite
        if self._copy is None:
            self._start_copy(self._since_copy)
            return None
        copied, event = self._copy
        if event is not None and not event.query():
            return None
        self._copy = None
        if copied:
            self._start_copy(self._since_copy)
            return None
        self._since_copy = None
        return bool(is_finite)

    def _start_copy(self, is_finite: Tensor) -> None:
        """Copy a value to the host in the background."""
        event = None
        if is_finite.is_cuda:
            copied = torch.empty((), dtype=torch.bool, pin_memory=True)
            copied.copy_(is_finite, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        else:
            copied = is_finite.clone()
        self._copy, self._since_copy = (copied.numpy(), event), None
