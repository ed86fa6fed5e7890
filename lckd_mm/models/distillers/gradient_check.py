"""A check that the gradients of distillation losses reach the student."""

from collections.abc import Iterable, Mapping
from typing import Any

from mmrazor.models.distillers import ConfigurableDistiller
from torch import Tensor, nn

from lckd_mm.errors import ConfigValueError

from .mappings import records_of

# Reentrant checkpointing runs a function without a graph, whose parameters the node does not list.
_HIDING_NODE = 'CheckpointFunctionBackward'


def reaches_any(loss: Tensor, parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether the backward pass of ``loss`` would reach one of ``parameters``.

    The graph counts, not the value: the gradient may be zero, for example below a batch normalization that begins with the weight 0.

    Args:
        loss (Tensor): The loss.
        parameters (Iterable[nn.Parameter]): The parameters.

    Returns:
        bool: True if one is in the graph of the loss, or if a reentrant checkpoint is, which hides its parameters.

    Example:
        >>> import torch
        >>> layer, other = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> loss = layer(torch.ones(1, 2)).sum()
        >>> reaches_any(loss, layer.parameters()), reaches_any(loss, other.parameters())
        (True, False)
    """
    wanted = {id(parameter) for parameter in parameters if parameter.requires_grad}
    if id(loss) in wanted:
        return True
    pending, seen = [loss.grad_fn], set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, 'variable', None)) in wanted or node.name() == _HIDING_NODE:
            return True
        pending += [following for following, _ in node.next_functions]
    return False


def unchecked_losses(distiller: ConfigurableDistiller, checked: set[str]) -> list[str]:
    """Return the names of the losses that the next training step checks; a loss of weight 0 is checked when the weight increases.

    Args:
        distiller (ConfigurableDistiller): The distiller, which has the losses.
        checked (set[str]): Names of the losses that have been checked before.

    Returns:
        list[str]: The names.
    """
    return [
        name
        for name in distiller.loss_forward_mappings
        if name not in checked and getattr(distiller.distill_losses[name], 'loss_weight', 1) != 0
    ]


def check_gradients(
    losses: Mapping[str, Any], distiller: ConfigurableDistiller, student: nn.Module, checked: set[str]
) -> None:
    """Check that each loss of positive weight reaches a trainable parameter of the student.

    Args:
        losses (Mapping[str, Tensor]): The computed losses by name.
        distiller (ConfigurableDistiller): The distiller, which has the weights and the taps of the losses.
        student (nn.Module): The student; adapters and connectors are no parts of it.
        checked (set[str]): Names of the losses that have been checked before, which is updated.

    Raises:
        ConfigValueError: A loss would train no parameter of the student; names its taps.
    """
    for name in unchecked_losses(distiller, checked):
        if isinstance(losses.get(name), Tensor) and not reaches_any(losses[name], student.parameters()):
            recorders, mapping = distiller.student_recorders.recorders, distiller.loss_forward_mappings[name]
            taps = list(dict.fromkeys(recorders[recorder].source for recorder, _ in records_of({name: mapping}, True)))
            raise ConfigValueError(
                f'the loss {name!r} has no gradient for any parameter of the student: its taps {taps} are detached, or all layers up to '
                'them are frozen; tap a layer behind a trainable one (see `frozen_stages` of the student), make '
                'layers before them trainable, or set `loss_weight=0`.'
            )
        checked.add(name)
