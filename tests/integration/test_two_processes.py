"""Two processes give the losses and the weights of one process with the joint batch."""

from pathlib import Path

import pytest
import torch

from ..helpers.processes import SCRIPTS, run_processes, run_python

SCRIPT = SCRIPTS / 'joint_batch.py'


@pytest.mark.training
def test_two_processes_give_the_losses_of_one_on_the_joint_batch(tmp_path: Path) -> None:
    for done in (
        run_python('-W', 'ignore', SCRIPT, tmp_path / 'one'),
        run_processes(2, SCRIPT, tmp_path / 'two', PYTHONWARNINGS='ignore'),
    ):
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
