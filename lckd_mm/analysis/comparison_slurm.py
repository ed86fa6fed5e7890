"""The runs of a comparison as jobs of Slurm, through submitit.

All runs of one seed are one job, so that they run one after another on one machine: differences by seed are then free of the
differences between machines.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lckd_mm.errors import ConfigRuntimeError

from .comparison import Comparison
from .comparison_plan import Run
from .comparison_queue import Queue
from .comparison_results import Result
from .comparison_runs import execute_run
from .training import DeadlineError

# Seconds between two looks at the jobs.
_POLL = 1.0
# Minutes of a job; submitit's default of 5 is less than most trainings take.
_TIMEOUT = 24 * 60
# Seconds after the deadline in which jobs can end their trainings, before they are cancelled.
_GRACE = 60.0


@dataclass(frozen=True)
class SeedJob:
    """The runs of one seed, executed on the machine of the job.

    Attributes:
        comparison: The comparison.
        runs: The runs.
        out: Folder of the comparison.
        until: Value of ``time.time()`` after which no run starts, and at which running ones are ended. None: no limit.
    """

    comparison: Comparison
    runs: tuple[Run, ...]
    out: Path
    until: float | None = None

    def __call__(self) -> list[tuple[Run, Result | None, str]]:
        """Execute the runs.

        Returns:
            list[tuple[Run, Result | None, str]]: Each run with its result, or without one and the reason; the reason is empty for a
            run that the deadline ended.
        """
        stop_at = None if self.until is None else time.monotonic() + self.until - time.time()
        finished: list[tuple[Run, Result | None, str]] = []
        for run in self.runs:
            try:
                if stop_at is not None and time.monotonic() >= stop_at:
                    raise DeadlineError('not started before the deadline')
                finished.append((run, execute_run(self.comparison, run, self.out, os.environ, stop_at), ''))
            except DeadlineError:
                finished.append((run, None, ''))
            except (RuntimeError, OSError, ValueError) as error:
                finished.append((run, None, str(error)))
        return finished


@dataclass(frozen=True)
class SlurmExecutor:
    """Executes runs as jobs.

    Attributes:
        cluster: ``'slurm'``; or ``'local'`` or ``'debug'``, with which submitit runs jobs on this machine, to try it out.
        partition: Partition of Slurm.
        parameters: Further parameters of submitit's ``AutoExecutor``, ``{'slurm_gres': 'gpu:1', 'timeout_min': 600}`` for example.
    """

    cluster: str = 'slurm'
    partition: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, work: Queue, runs: Sequence[Run]) -> Iterable[tuple[Run, Callable[[], Result]]]:
        """Submit one job per seed and yield its runs when it ends.

        Args:
            work (Queue): The comparison and how it is executed.
            runs (Sequence[Run]): The runs.

        Yields:
            tuple[Run, Callable[[], Result]]: A finished run, and a function that returns its result or raises its error.

        Raises:
            ConfigRuntimeError: submitit is not installed, or refuses the parameters.
        """
        executor = self._make_executor(work.out / 'slurm')
        until = None if work.stop_at is None else time.time() + work.stop_at - time.monotonic()
        by_seed: dict[int, list[Run]] = {}
        for run in runs:
            by_seed.setdefault(run.seed, []).append(run)
        jobs: dict[Any, list[Run]] = {}
        for seed_runs in by_seed.values():
            job = executor.submit(SeedJob(work.comparison, tuple(seed_runs), work.out.resolve(), until))
            jobs[job] = seed_runs
        try:
            while jobs:
                for job in [job for job in jobs if job.done()]:
                    yield from _finished_runs(job, jobs.pop(job))
                if jobs and work.stop_at is not None and time.monotonic() > work.stop_at + _GRACE:
                    # These jobs wait for a machine.
                    for job, seed_runs in jobs.items():
                        job.cancel()
                        yield from ((run, _finish(None, '')) for run in seed_runs)
                    return
                if jobs:
                    time.sleep(_POLL)
        except BaseException:
            for job in jobs:
                job.cancel()
            raise

    def _make_executor(self, folder: Path) -> Any:
        try:
            import submitit
        except ImportError as error:
            raise ConfigRuntimeError(
                "jobs of Slurm need the package submitit, which is not installed: pip install 'lckd_mm[slurm]'."
            ) from error
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster)
            partition = {'slurm_partition': self.partition} if self.partition else {}
            executor.update_parameters(**{'name': 'lckd_mm', 'timeout_min': _TIMEOUT, **partition, **self.parameters})
        # submitit raises RuntimeError without Slurm, and NameError or AssertionError for wrong parameters.
        except (RuntimeError, NameError, AssertionError, TypeError, ValueError) as error:
            reason = ' '.join(str(error).split())
            raise ConfigRuntimeError(
                f'submitit cannot submit jobs with these parameters ({reason}): correct them.'
            ) from error
        return executor


def _finished_runs(job: Any, runs: Sequence[Run]) -> Iterable[tuple[Run, Callable[[], Result]]]:
    """Yield the runs of a job that has ended."""
    try:
        finished = job.result()
    # Whatever ends a job (a full node, a time limit, an error in it) is raised as an exception of submitit or of the job.
    except Exception as error:
        reason = ' '.join(str(error).split())[-300:]
        finished = [(run, None, f'the job {job.job_id} failed: {reason}') for run in runs]
    for run, result, reason in finished:
        yield run, _finish(result, reason)


def _finish(result: Result | None, reason: str) -> Callable[[], Result]:
    def finish() -> Result:
        if result is not None:
            return result
        raise ConfigRuntimeError(reason) if reason else DeadlineError('ended at the deadline')

    return finish
