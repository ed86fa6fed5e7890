"""Counts that a config file cannot contain as literals, but a computed config can."""

import math

import pytest
from mmengine.config import Config

from lckd_mm.cli.config_check import check_config
from lckd_mm.errors import ConfigValueError


def _config(**counts: float) -> Config:
    return Config(dict(train_dataloader=dict(batch_size=2), train_cfg=counts, optim_wrapper=dict()))


def test_infinite_interval_of_the_evaluation_is_valid() -> None:
    check_config(_config(max_epochs=3, val_interval=math.inf), 'train')


@pytest.mark.parametrize(
    ('name', 'value'), [('max_epochs', math.inf), ('max_iters', math.nan), ('val_interval', math.nan)]
)
def test_other_counts_must_be_whole_numbers(name: str, value: float) -> None:
    with pytest.raises(ConfigValueError, match=f'train_cfg.{name}={value} is not valid'):
        check_config(_config(**{name: value}), 'train')
