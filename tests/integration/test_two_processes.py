"""Two processes give the losses and the weights of one on the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / 'scripts' / 'joint_batch.py'


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_on_the_joint_batch(tmp_path: Path) -> None:
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    launcher = ['-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29518']
    for out, command in ((tmp_path / 'one', []), (tmp_path / 'two', launcher)):
        full = [sys.executable, '-W', 'ignore', *command, str(SCRIPT), str(out)]
        done = subprocess.run(full, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
    one = torch.load(tmp_path / 'one' / 'rank0.pt', weights_only=True)
    ranks = [torch.load(tmp_path / 'two' / f'rank{i}.pt', weights_only=True) for i in (0, 1)]
    assert len(one['losses']) == 4
    for name in ('student.loss', 'distill.loss_lipschitz'):
        joint = torch.tensor([losses[name] for losses in one['losses']])
        mean = torch.tensor([[losses[name] for losses in rank['losses']] for rank in ranks]).mean(0)
        torch.testing.assert_close(mean, joint, rtol=1e-4, atol=1e-6)
    for rank in ranks:
        torch.testing.assert_close(rank['weights'], one['weights'], rtol=1e-4, atol=1e-6)
