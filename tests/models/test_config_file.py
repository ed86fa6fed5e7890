"""Reading of config files."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lckd_mm.models.utils import config_file, read_config

NAME = 'mmpretrain::resnet/resnet18_8xb16_cifar10.py'


def test_threads_read_configs_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmengine reads them with global state, with which simultaneous reading fails at random."""
    running: list[str] = []
    simultaneous: list[int] = []
    read = config_file.get_config

    def slow(path: str) -> Any:
        running.append(path)
        simultaneous.append(len(running))
        time.sleep(0.05)
        running.pop()
        return read(path)

    monkeypatch.setattr(config_file, 'get_config', slow)
    with ThreadPoolExecutor(4) as pool:
        configs = list(pool.map(read_config, [NAME] * 4))
    assert [config.model.head.num_classes for config in configs] == [10] * 4
    assert simultaneous == [1] * 4
