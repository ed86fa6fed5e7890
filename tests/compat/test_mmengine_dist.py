"""Distributed training on a machine without a GPU."""

import json
from pathlib import Path

import pytest

from ..helpers.processes import SCRIPTS, run_processes, run_with_compat

TOY = SCRIPTS / 'toy_training.py'
ONE_PROCESS = """
import os, tempfile, torch
compat.PATCHES['torchvision_import'].apply()
compat.PATCHES['mmengine_cpu_process_group'].apply()
compat.PATCHES['mmengine_cpu_data_parallel'].apply()
os.environ.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1')
# The processes meet in a file: no port is used.
init = dict(init_method='file://' + tempfile.mktemp(), rank=0, world_size=1)
"""


def test_a_gloo_group_is_opened_in_place_of_nccl() -> None:
    done = run_with_compat(
        ONE_PROCESS
        + """
from mmengine.dist import init_dist
init_dist('pytorch', backend='nccl', **init)
print(torch.distributed.get_backend())
"""
    )
    assert done.stdout == 'gloo\n', done.stderr


def test_device_ids_of_a_model_on_the_cpu_are_dropped() -> None:
    done = run_with_compat(
        ONE_PROCESS
        + """
from mmengine.model import MMDistributedDataParallel
torch.distributed.init_process_group('gloo', **init)
print(MMDistributedDataParallel(module=torch.nn.Linear(1, 1), device_ids=[0]).device_ids)
torch.distributed.destroy_process_group()
"""
    )
    assert done.stdout == 'None\n', done.stderr


@pytest.mark.skipif(not Path('/proc/self/task').exists(), reason='counts the threads in /proc')
def test_no_thread_of_the_group_is_left_at_exit() -> None:
    done = run_with_compat(
        """
import atexit
from pathlib import Path

@atexit.register  # runs last: the functions run in reverse order
def report():
    print([t for t in (p.read_text().strip() for p in Path('/proc/self/task').glob('*/comm')) if 'gloo' in t])
"""
        + ONE_PROCESS
        + """
from mmengine.dist import init_dist
from mmengine.model import MMDistributedDataParallel
init_dist('pytorch', **init)
model = MMDistributedDataParallel(module=torch.nn.Linear(1, 1))
model.cycle = [model]
del model
"""
    )
    assert done.stdout == '[]\n', done.stderr


@pytest.mark.training
def test_two_processes_train_on_the_cpu_only_with_the_patches(tmp_path: Path) -> None:
    plain = run_processes(2, TOY, 'plain', tmp_path / 'plain', '--launcher', 'pytorch')
    assert plain.returncode != 0
    assert 'set_device' in plain.stderr
    patched = run_processes(2, TOY, 'patched', tmp_path / 'patched', '--launcher', 'pytorch')
    assert patched.returncode == 0, patched.stderr
    for rank in (0, 1):
        result = json.loads((tmp_path / 'patched' / f'rank{rank}.json').read_text())
        assert result == dict(epoch=2, world_size=2)
