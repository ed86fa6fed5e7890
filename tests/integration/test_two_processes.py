"""Training in two processes: the results of one process with the joint batch, and ranks that disagree."""

import json
from pathlib import Path

import pytest
import torch

from ..helpers.processes import SCRIPTS, run_processes, run_python
from ..helpers.shared import make_once

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


@pytest.fixture(scope='module')
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What both ranks have seen in the trainings of a script."""

    def train(folder: Path) -> None:
        done = run_processes(2, SCRIPTS / 'two_ranks.py', folder, PYTHONWARNINGS='ignore')
        assert done.returncode == 0, done.stderr[-4000:]

    folder = make_once(tmp_path_factory, 'two_ranks', train)
    return [json.loads((folder / f'rank{rank}.json').read_text()) for rank in (0, 1)]


@pytest.mark.training
class TestTwoRanks:
    @pytest.mark.parametrize('scenario', ['stop', 'compile', 'no_student_loss', 'invalid_loss', 'no_gradient'])
    def test_ranks_end_with_the_same_weights(self, ranks: list[dict], scenario: str) -> None:
        first, second = (rank[scenario] for rank in ranks)
        assert first['weights'] == second['weights']
        assert first['iterations'] == second['iterations']

    def test_training_continues_with_the_student_alone_after_the_stop(self, ranks: list[dict]) -> None:
        names = [iteration['losses'] for iteration in ranks[0]['stop']['iterations']]
        assert names == [['distill.loss_lipschitz', 'loss', 'student.loss']] * 2 + [['loss', 'student.loss']] * 2

    def test_compiled_networks_train_as_without_compilation(self, ranks: list[dict]) -> None:
        compiled, plain = ranks[0]['compile'], ranks[0]['plain']
        assert compiled['weights'] == plain['weights']

    def test_weight_decay_does_not_change_a_head_without_a_loss(self, ranks: list[dict]) -> None:
        assert ranks[0]['no_student_loss']['is_head_unchanged']
        assert not ranks[0]['stop']['is_head_unchanged']

    @pytest.mark.parametrize('scenario', ['invalid_loss', 'no_gradient'])
    def test_loss_weight_stays_if_one_rank_has_no_valid_measurement(self, ranks: list[dict], scenario: str) -> None:
        weights = [iteration['weight'] for iteration in ranks[0][scenario]['iterations']]
        assert weights[0] == weights[1] != weights[2] != weights[3]
