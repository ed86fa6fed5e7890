"""DataSizeHook: the sentence on batches that are dropped. tests/cli/test_refused_data.py has the other cases."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from lckd_mm.engine.hooks import DataSizeHook, data_size_hook
from lckd_mm.errors import ConfigValueError

IMAGES = list(range(10))


class Share(SequentialSampler):
    """The images of one of four processes."""

    def __len__(self) -> int:
        return 3


def check(**options: Any) -> None:
    loop = SimpleNamespace(dataloader=DataLoader(IMAGES, **options))
    DataSizeHook().before_train(SimpleNamespace(train_loop=loop, val_loop=None))


def test_the_images_of_one_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_size_hook, 'get_world_size', lambda: 4)
    options = dict(batch_size=8, drop_last=True, sampler=Share(IMAGES))
    with pytest.raises(
        ConfigValueError, match=r'of each of the 4 processes, of 3 images, since batch_size=8; .* at most 3'
    ):
        check(**options)


def test_a_sampler_of_batches_has_the_batch_size() -> None:
    sampler = BatchSampler(SequentialSampler(IMAGES), batch_size=16, drop_last=True)
    with pytest.raises(ConfigValueError, match=r'the only one, of 10 images, since batch_size=16; use .* at most 10'):
        check(batch_sampler=sampler)
    check(batch_sampler=BatchSampler(SequentialSampler(IMAGES), batch_size=10, drop_last=True))
