"""Measures how strongly each loss of a distillation pulls at the student: its gradient in the backbone beside the task's.

A share of the loss says little of that: at the same share a loss can weigh ten times as much in the step of one network as in
that of another. Without a checkpoint the training's start is measured:

    python tools/analysis_tools/measure_gradients.py configs/camvid/lckd_camvid.py work_dirs/lckd_camvid/epoch_12.pth
"""

import argparse
import logging
import warnings
from typing import Dict, List

warnings.filterwarnings('ignore')

import torch  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.registry import DATASETS, DefaultScope  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor  # noqa: E402

from lckd_mm.cli import load_distillation  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of a distillation')
    parser.add_argument('checkpoint', nargs='?', help='of its training; its start by default')
    parser.add_argument(
        '--batches', type=int, default=4, help='of training data, of the size that the config trains with'
    )
    args = parser.parse_args()
    MMLogger.get_instance('measure_gradients', log_level=logging.WARNING)
    cfg, model = load_distillation(args.config, args.checkpoint)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    # In training a BN takes the statistics of its batch.
    model.train()
    size = min(cfg.train_dataloader.batch_size, len(dataset))
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    found: List[Dict[str, Dict[str, float]]] = []
    for start in track(range(0, min(args.batches * size, len(order) - size + 1), size), description='batches'):
        data = pseudo_collate([dataset[index] for index in order[start : start + size]])
        found.append(measure(model, model.data_preprocessor(data, True)))
    report(found)


def measure(model: torch.nn.Module, data: dict) -> Dict[str, Dict[str, float]]:
    """Of the task and of each distillation loss: value, share of the total, gradient and cosine beside the task's."""
    losses = model(**data, mode='loss')
    values = {'task': sum(total(model, name, loss) for name, loss in losses.items() if name.startswith('student.'))}
    values.update({name: total(model, name, loss) for name, loss in losses.items() if name.startswith('distill.')})
    parameters = [parameter for parameter in model.student.backbone.parameters() if parameter.requires_grad]
    gradients = {name: gradient(value, parameters) for name, value in values.items()}
    everything, task = sum(value.item() for value in values.values()), gradients['task']
    return {
        name: dict(
            value=value.item(),
            share=value.item() / everything,
            gradient=(gradients[name].norm() / task.norm()).item(),
            cosine=torch.cosine_similarity(gradients[name], task, 0).item(),
        )
        for name, value in values.items()
    }


def total(model: torch.nn.Module, name: str, loss: object) -> Tensor:
    """What a loss, or a list of them, adds to the total: nothing where it is no loss but an accuracy."""
    return model.parse_losses({name: loss})[0] if 'loss' in name else torch.zeros(())


def gradient(value: Tensor, parameters: List[Tensor]) -> Tensor:
    """Of all parameters, in one vector."""
    grads = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, grads)])


def report(found: List[Dict[str, Dict[str, float]]]) -> None:
    """The means over the batches."""
    table = Table(title=f'mean over {len(found)} batches; gradients in the backbone of the student')
    for column in ('loss', 'value', 'share of the total', "gradient / task's", "cosine with the task's"):
        table.add_column(column, justify='left' if column == 'loss' else 'right')
    for name in found[0]:
        means = {key: sum(batch[name][key] for batch in found) / len(found) for key in found[0][name]}
        cells = (f'{means["value"]:.4f}', f'{means["share"]:.1%}', f'{means["gradient"]:.3f}', f'{means["cosine"]:.3f}')
        table.add_row(name, *cells)
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
