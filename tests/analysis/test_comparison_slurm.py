import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from lckd_mm.analysis import comparison_slurm
from lckd_mm.analysis.comparison_results import read_results
from lckd_mm.cli.compare import main
from lckd_mm.errors import ConfigRuntimeError, ConfigValueError
from tests.helpers.fake_training import install_fake_training

ARGUMENTS = ('plain: a.py', 'better: a.py gain=5', '--metric', 'acc', '--seeds', '0', '1', '--out', 'out')


class FakeJob:
    """A job that runs when its result is requested, as that of submitit's debug executor."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.job_id = '17'
        self.is_cancelled = False

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self.function()

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeExecutor:
    jobs: list[Any] = []
    parameters: dict[str, Any] = {}
    kind: Any = FakeJob

    def __init__(self, folder: Path, cluster: str) -> None:
        self.cluster = cluster
        type(self).parameters = dict(cluster=cluster)
        type(self).jobs = []

    def update_parameters(self, **parameters: Any) -> None:
        if 'gres' in parameters:
            raise NameError("Unknown argument(s): 'gres'")
        type(self).parameters.update(parameters)

    def submit(self, function: Any) -> FakeJob:
        job = self.kind(function)
        self.jobs.append(job)
        return job


@pytest.fixture(autouse=True)
def _fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fake_training(tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, 'submitit', types.SimpleNamespace(AutoExecutor=FakeExecutor))
    monkeypatch.setattr(comparison_slurm, '_POLL', 0.01)


def test_one_job_per_seed_with_the_parameters_of_the_user() -> None:
    main([*ARGUMENTS, '--slurm', 'gpu', '--slurm-options', 'slurm_gres=gpu:1', 'cpus_per_task=4'])
    results = [(r['seed'], r['variant'], r['report']['value']) for r in read_results('out/results.jsonl')]
    assert results == [(0, 'plain', 103), (0, 'better', 108), (1, 'plain', 113), (1, 'better', 118)]
    assert [[run.title for run in job.function.runs] for job in FakeExecutor.jobs] == [
        ['plain, seed 0', 'better, seed 0'],
        ['plain, seed 1', 'better, seed 1'],
    ]
    assert FakeExecutor.parameters == dict(
        cluster='slurm',
        name='lckd_mm',
        timeout_min=1440,
        slurm_partition='gpu',
        slurm_gres='gpu:1',
        cpus_per_task=4,
    )


def test_failed_run_leaves_the_other_runs_of_its_job() -> None:
    with pytest.raises(ConfigRuntimeError, match=r'failed: bad, seed 0: it is broken'):
        main(['bad: a.py broken=1', *ARGUMENTS, '--executor', 'submitit-debug'])
    assert len(read_results('out/results.jsonl')) == 4


def test_job_that_is_lost_fails_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class LostJob(FakeJob):
        def result(self) -> Any:
            raise RuntimeError('the node\nis gone')

    monkeypatch.setattr(FakeExecutor, 'kind', LostJob)
    with pytest.raises(ConfigRuntimeError, match='failed: plain, seed 0: the job 17 failed: the node is gone'):
        main([*ARGUMENTS, '--slurm', 'gpu'])


def test_jobs_that_wait_are_cancelled_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class WaitingJob(FakeJob):
        def done(self) -> bool:
            return False

    monkeypatch.setattr(FakeExecutor, 'kind', WaitingJob)
    monkeypatch.setattr(comparison_slurm, '_GRACE', 0.1)
    start = time.monotonic()
    with pytest.raises(SystemExit) as end:
        main([*ARGUMENTS, '--slurm', 'gpu', '--deadline', '0.002'])
    assert end.value.code == 3
    assert time.monotonic() - start < 20
    assert all(job.is_cancelled for job in FakeExecutor.jobs)
    assert 'unfinished at the deadline: plain, seed 0; better, seed 0; plain, seed 1; better' in capsys.readouterr().err


def test_deadline_ends_the_trainings_of_a_job() -> None:
    with pytest.raises(SystemExit) as end:
        main(['slow: a.py sleep=30', *ARGUMENTS, '--executor', 'submitit-debug', '--deadline', '0.01'])
    assert end.value.code == 3
    assert read_results('out/results.jsonl') == []


def test_submitit_that_is_missing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(ConfigRuntimeError, match=r"not installed: pip install 'lckd_mm\[slurm\]'"):
        main([*ARGUMENTS, '--slurm', 'gpu'])


def test_wrong_parameters_are_one_sentence() -> None:
    with pytest.raises(ConfigRuntimeError, match=r"Unknown argument\(s\): 'gres'"):
        main([*ARGUMENTS, '--slurm', 'gpu', '--slurm-options', 'gres=1'])
    with pytest.raises(ConfigValueError, match='have no effect on trainings on this machine'):
        main([*ARGUMENTS, '--slurm', 'gpu', '--executor', 'here'])
    with pytest.raises(ConfigValueError, match='have no effect on trainings on this machine'):
        main([*ARGUMENTS, '--slurm-options', 'gres=1'])
