"""What a training of the matrix records, and the order of its images. Configs name these classes by their full names."""

import gc
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS, HOOKS
from mmengine.runner import Runner

PAGE_BYTES = os.sysconf('SC_PAGE_SIZE')


@HOOKS.register_module(force=True)
class RecordHook(Hook):
    """Writes the losses of each iteration, a digest of the teacher before and after, and the memory to ``rank<RANK>.json``.

    Args:
        memory_interval (int): Iterations between two records of the memory; 0 for none. Defaults to 0.
    """

    priority = 'LOWEST'

    def __init__(self, memory_interval: int = 0) -> None:
        self.memory_interval = memory_interval
        self.losses: list[dict[str, float]] = []
        self.memory: list[dict[str, int]] = []

    def before_train(self, runner: Runner) -> None:
        self.teacher = digest(_algorithm(runner).teacher)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.losses.append({name: float(value) for name, value in outputs.items() if 'loss' in name})
        if self.memory_interval and (runner.iter + 1) % self.memory_interval == 0:
            self.memory.append(_memory())

    def after_train(self, runner: Runner) -> None:
        algorithm = _algorithm(runner)
        record = dict(
            losses=self.losses,
            teacher=[self.teacher, digest(algorithm.teacher)],
            student=digest(algorithm.student),
            memory=self.memory,
        )
        (Path(runner.work_dir) / f'rank{get_rank()}.json').write_text(json.dumps(record))


@DATA_SAMPLERS.register_module(force=True)
class RepeatedBatches(torch.utils.data.Sampler):
    """The images in their order, each batch twice.

    Args:
        dataset (Sized): The data set.
        batch_size (int): Images of a batch.
        seed (int, optional): Not used: the order is fixed. Defaults to None.
    """

    def __init__(self, dataset: Any, batch_size: int, seed: int | None = None) -> None:
        self.indices = [
            index
            for start in range(0, len(dataset), batch_size)
            for index in 2 * list(range(start, min(start + batch_size, len(dataset))))
        ]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the order is the same in each epoch."""


def _algorithm(runner: Runner) -> Any:
    return getattr(runner.model, 'module', runner.model)


def digest(network: torch.nn.Module) -> str:
    """Return a digest of all parameters and buffers."""
    content = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        content.update(name.encode())
        content.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _memory() -> dict[str, int]:
    gc.collect()
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    resident = int(Path('/proc/self/statm').read_text().split()[1]) * PAGE_BYTES
    return dict(tensors=len(tensors), tensor_bytes=sum(storages.values()), resident_bytes=resident)
