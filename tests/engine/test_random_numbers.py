import random

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from lckd_mm.engine.random_numbers import WorkerSeeds, seed_iteration


class _Noise(torch.utils.data.Dataset):
    """Numbers of all generators, and the worker that has drawn them."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, float]:
        info = torch.utils.data.get_worker_info()
        assert info is not None
        return dict(worker=info.id, numbers=(random.random(), np.random.rand(), torch.rand(()).item()))


def _loader(**options: object) -> torch.utils.data.DataLoader:
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = dict(dataset=_Noise(), batch_size=1, num_workers=2, sampler=sampler, persistent_workers=False, **options)
    return Runner.build_dataloader(loader, seed=5)


def _numbers(loader: torch.utils.data.DataLoader) -> list[float]:
    # Batches of one sample, which mmengine collates to lists.
    return [numbers[0] for batch in loader for numbers in batch['numbers']]


def test_iterations_and_seeds_have_different_numbers_in_each_generator() -> None:
    drawn = []
    for seed, iteration in ((0, 0), (0, 1), (1, 0), (2**31, 10**7)):
        seed_iteration(seed, iteration)
        drawn += [random.random(), np.random.rand(), torch.rand((), dtype=torch.float64).item()]
    assert len(set(drawn)) == 12


def test_workers_have_other_numbers_in_each_epoch_and_on_each_rank() -> None:
    loader = _loader()
    seeds = WorkerSeeds.replace(loader)
    assert seeds is not None
    first = _numbers(loader)
    assert len(set(first)) == 12
    seeds.epoch = 1
    assert not set(first) & set(_numbers(loader))
    seeds.rank, seeds.epoch = 1, 0
    assert not set(first) & set(_numbers(loader))
    seeds.rank = 0
    assert _numbers(loader) == first
    # A second training with the same data loader keeps the function.
    assert WorkerSeeds.replace(loader) is seeds


def test_function_of_mmengine_alone_repeats_the_numbers_in_each_epoch() -> None:
    loader = _loader()
    assert _numbers(loader) == _numbers(loader)


@pytest.mark.parametrize('function', [None, lambda worker: None])
def test_function_of_the_user_stays(function: object) -> None:
    loader = _loader()
    loader.worker_init_fn = function
    assert WorkerSeeds.replace(loader) is None
    assert loader.worker_init_fn is function
