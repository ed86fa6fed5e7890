"""Random numbers that depend only on the seed and on the position in the training, so that a resumed training has the same."""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device

# First words of the entropy, so that the two kinds of generators never have the same state.
_ITERATION, _WORKER = 0, 1


def seed_iteration(seed: int, iteration: int) -> None:
    """Seed the generators of Python, NumPy and torch, those of all GPUs included, for one iteration of a training.

    Args:
        seed (int): Seed of the training, 0 or more.
        iteration (int): Index of the iteration, 0 or more.

    Example:
        >>> seed_iteration(0, 7)
        >>> first = torch.rand(2), np.random.rand(), random.random()
        >>> seed_iteration(0, 7)
        >>> bool((torch.rand(2) == first[0]).all()), np.random.rand() == first[1], random.random() == first[2]
        (True, True, True)
    """
    _seed_generators(seed, _ITERATION, iteration)


class WorkerSeeds:
    """A ``worker_init_fn`` that seeds each worker process of a data loader by seed, epoch, rank and worker.

    mmengine's function gives a worker the same random numbers in each epoch.

    Args:
        init_worker (Callable[[int], Any]): Function that is called first, with the index of the worker.
        seed (int): Seed of the training.
        rank (int): Rank of the process that owns the data loader.

    Attributes:
        epoch (int): The epoch for which the next workers are started, 0 at first.

    Example:
        >>> seeds, numbers = WorkerSeeds(lambda worker: None, seed=0, rank=0), []
        >>> for seeds.epoch, worker in ((0, 0), (0, 1), (1, 0), (0, 0)):
        ...     seeds(worker)
        ...     numbers.append(torch.rand(()).item())
        >>> len(set(numbers)), numbers[0] == numbers[3]
        (3, True)
    """

    def __init__(self, init_worker: Callable[[int], Any], seed: int, rank: int) -> None:
        self.init_worker, self.seed, self.rank = init_worker, seed, rank
        self.epoch = 0

    def __call__(self, worker: int) -> None:
        """Seed the generators of a worker process."""
        self.init_worker(worker)
        _seed_generators(self.seed, _WORKER, self.epoch, self.rank, worker)

    @classmethod
    def replace(cls, loader: Any) -> 'WorkerSeeds | None':
        """Replace mmengine's ``worker_init_fn`` of a data loader.

        Args:
            loader (torch.utils.data.DataLoader): The data loader.

        Returns:
            WorkerSeeds | None: The new function. None if the data loader has another one, which stays.
        """
        from mmengine.dataset import worker_init_fn

        current = getattr(loader, 'worker_init_fn', None)
        if isinstance(current, cls):
            return current
        if not isinstance(current, functools.partial) or current.func is not worker_init_fn:
            return None
        loader.worker_init_fn = cls(current, current.keywords['seed'], current.keywords['rank'])
        return loader.worker_init_fn  # type: ignore[no-any-return]


def _seed_generators(*entropy: int) -> None:
    # SeedSequence mixes the words, so that neighboring iterations have independent random numbers.
    words = np.random.SeedSequence(entropy).generate_state(3, np.uint64)
    random.seed(int(words[0]))
    # 32 bits are the most that NumPy's global generator takes as a number.
    np.random.seed(int(words[1]) & 0xFFFFFFFF)
    if get_device() == 'cpu':
        # `torch.manual_seed` formats the stack for a GPU that is not initialized, in 0.2 ms.
        torch.default_generator.manual_seed(int(words[2]))
    else:
        torch.manual_seed(int(words[2]))
