"""Stand-ins for mmengine's Runner in tests of single hooks."""

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from torch import nn


def distillation_model(losses: dict[str, nn.Module] | None = None, **attributes: Any) -> nn.Module:
    """Return a module whose distiller has these losses and attributes."""
    model = nn.Module()
    model.distiller = nn.Module()
    model.distiller.distill_losses = nn.ModuleDict(losses or {})
    for name, value in attributes.items():
        setattr(model.distiller, name, value)
    return model


def fake_runner(model: nn.Module, hooks: Sequence[Hook] = (), **attributes: Any) -> SimpleNamespace:
    """Return an object with the attributes of a Runner that hooks read, and a message hub of its own."""
    hub = MessageHub('fake_runner')
    logger = logging.getLogger('fake_runner')
    defaults = dict(model=model, hooks=list(hooks), message_hub=hub, logger=logger, iter=0, train_loop=None)
    return SimpleNamespace(**{**defaults, **attributes})
