"""The gradient of each loss of a distillation with respect to the student's backbone, compared with the task's gradient.

The share of a loss in the total says little about its effect: at the same share, the gradient norm of a loss can be ten times
as large in one network as in another.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from torch import Tensor

from .distillation import build_dataset
from .tables import print_table


class LossGradient(NamedTuple):
    """One loss of one batch.

    Attributes:
        value: The loss.
        share: Its share of the sum of all losses.
        gradient: Norm of its gradient over the norm of the task's gradient.
        cosine: Cosine between its gradient and the task's gradient.
        adapters: Share of the adapters in its squared gradient norm over backbone and adapters: to first order, the share of a step of
            gradient descent that the adapters contribute, and that does not change the student.
    """

    value: float
    share: float
    gradient: float
    cosine: float
    adapters: float = 0.0


def training_batches(cfg: Config, model: BaseModel, num_batches: int) -> Iterator[dict[str, Any]]:
    """Yield preprocessed batches of the training data, of the batch size of the config, in a fixed random order.

    Args:
        cfg (Config): Config of the distillation.
        model (BaseModel): The distillation.
        num_batches (int): Maximum number of batches.

    Yields:
        dict: ``inputs`` and ``data_samples`` of a batch.
    """
    dataset = build_dataset(cfg, 'train')
    size = min(cfg.train_dataloader.batch_size, len(dataset))
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    for start in range(0, min(num_batches * size, len(order) - size + 1), size):
        yield model.data_preprocessor(pseudo_collate([dataset[index] for index in order[start : start + size]]), True)


def measure_gradients(model: BaseModel, batch: dict[str, Any]) -> dict[str, LossGradient]:
    """Measure the losses of one batch.

    Args:
        model (BaseModel): The distillation, in training mode.
        batch (dict): ``inputs`` and ``data_samples``, preprocessed.

    Returns:
        dict[str, LossGradient]: The task's loss as ``'task'``, then each loss of the distillation.
    """
    losses = model(**batch, mode='loss')
    values = {'task': _sum(_total(model, name, loss) for name, loss in losses.items() if name.startswith('student.'))}
    values.update({name: _total(model, name, loss) for name, loss in losses.items() if name.startswith('distill.')})
    backbone = getattr(model.student, 'backbone', model.student)
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    adapters = list(model.distiller.adapters.parameters())
    gradients = {name: _flat_gradient(value, parameters) for name, value in values.items()}
    adapter_norms = {
        name: _flat_gradient(value, adapters).norm() if adapters else 0.0 for name, value in values.items()
    }
    total, task = sum(value.item() for value in values.values()), gradients['task']
    return {
        name: LossGradient(
            value=value.item(),
            share=value.item() / total,
            gradient=(gradients[name].norm() / task.norm()).item(),
            cosine=torch.cosine_similarity(gradients[name], task, 0).item(),
            adapters=_share(float(adapter_norms[name]), gradients[name].norm().item()),
        )
        for name, value in values.items()
    }


def _sum(values: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()


def _total(model: BaseModel, name: str, loss: Any) -> Tensor:
    """Return the contribution of an output of the model to the total: none if it is an accuracy."""
    return model.parse_losses({name: loss})[0] if 'loss' in name else torch.zeros(())


def _share(norm: float, other: float) -> float:
    return norm**2 / (norm**2 + other**2) if norm else 0.0


def _flat_gradient(value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(parameter) if g is None else g).flatten() for parameter, g in pairs])


def print_gradients(batches: Sequence[dict[str, LossGradient]]) -> None:
    """Print a table with the means over the batches.

    Args:
        batches (Sequence[dict[str, LossGradient]]): Results of :func:`measure_gradients`.

    Example:
        >>> print_gradients([{'task': LossGradient(0.5, 1.0, 1.0, 1.0)}])  # doctest: +ELLIPSIS +NORMALIZE_WHITESPACE
        Mean over 1 batches...task...0.5000...100.0%...1.000...
    """
    rows = []
    for name in batches[0]:
        mean = LossGradient(
            *(sum(values) / len(batches) for values in zip(*(batch[name] for batch in batches), strict=True))
        )
        values = [
            f'{mean.value:.4f}',
            f'{mean.share:.1%}',
            f'{mean.gradient:.3f}',
            f'{mean.cosine:.3f}',
            f'{mean.adapters:.1%}',
        ]
        rows.append([name, *values])
    header = ['loss', 'value', 'share of total', 'gradient / task', 'cosine with task', 'through adapters']
    print_table(
        f"Mean over {len(batches)} batches; gradients with respect to the student's backbone", header, rows, width=120
    )
