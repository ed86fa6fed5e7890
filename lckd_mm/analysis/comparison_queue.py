"""Works through the missing runs of a comparison, on this machine or as Slurm jobs."""

import os
import queue
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .comparison import Comparison
from .comparison_plan import Plan, Run, make_plan
from .comparison_results import Result, ResultStore
from .comparison_runs import clean_run, execute_run
from .training import DeadlineError, end_running_processes

# Yields each run with a function that returns its result or raises its error.
Executor = Callable[['Queue', Sequence[Run]], Iterable[tuple[Run, Callable[[], Result]]]]


@dataclass
class Queue:
    """How the runs of a comparison are executed.

    Attributes:
        comparison: The comparison.
        store: Its results.
        out: Its folder.
        jobs: Number of simultaneous trainings.
        stop_at: Value of ``time.monotonic()`` after which no run starts, and at which running ones are ended.
        stage: ``'screening'``, ``'confirmation'`` or ``'all'``.
        clean: Whether the checkpoints of finished runs are deleted.
    """

    comparison: Comparison
    store: ResultStore
    out: Path
    jobs: int = 1
    stop_at: float | None = None
    stage: str = 'all'
    clean: bool = False

    def plan(self) -> Plan:
        """Return choices and missing runs."""
        return make_plan(self.comparison, self.store.selection)

    def missing(self, plan: Plan, failed: Iterable[Run] = ()) -> list[Run]:
        """Return the runs that can start now: the screening comes first, the confirmation when all choices are made.

        Args:
            plan (Plan): The plan.
            failed (Iterable[Run]): Runs that are not repeated. Defaults to ().

        Returns:
            list[Run]: The runs in their order.
        """
        failed = set(failed)
        runs: list[Run] = []
        if plan.missing_screening:
            runs = plan.missing_screening if self.stage != 'confirmation' else []
        elif self.stage != 'screening':
            runs = plan.missing_confirmation
        return [run for run in runs if run not in failed]

    def finished(self) -> list[Run]:
        """Return the runs that have a result."""
        plan = self.plan()
        screening = [Run(setting, seed, 'screening') for setting, values in plan.screened.items() for seed in values]
        runs = [*screening, *(Run(setting, seed) for setting in plan.confirmed for seed in self.comparison.seeds)]
        return [run for run in runs if self.store.find(run) is not None]

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return self.stop_at is not None and time.monotonic() >= self.stop_at


@dataclass
class Outcome:
    """What a queue did not finish.

    Attributes:
        failures: One sentence per failed run.
        unfinished: Titles of the runs that the deadline ended, or that did not start before it.
    """

    failures: list[str]
    unfinished: list[str]

    @property
    def sentences(self) -> list[str]:
        """One sentence per failed run, and one for the deadline."""
        lines = [f'failed: {failure}' for failure in self.failures]
        if self.unfinished:
            titles = '; '.join(self.unfinished)
            lines.append(f'unfinished at the deadline: {titles}; the same command resumes the comparison.')
        return lines


def work_through(work: Queue, executor: 'Executor | None' = None) -> Outcome:
    """Execute the missing runs until none is left, or the deadline has passed.

    Args:
        work (Queue): The comparison and how it is executed.
        executor (Executor, optional): Executes runs. Defaults to None, on this machine.

    Returns:
        Outcome: What was not finished.
    """
    failures: list[str] = []
    failed: set[Run] = set()
    unfinished: list[Run] = []
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task('trainings', total=None)
        while (runs := work.missing(work.plan(), failed)) and not unfinished:
            progress.update(bar, total=len(runs), completed=0, description=runs[0].stage)
            for number, (run, finish) in enumerate((executor or execute_here)(work, runs), 1):
                progress.advance(bar)
                try:
                    result = finish()
                except DeadlineError:
                    unfinished.append(run)
                    continue
                except (RuntimeError, OSError, ValueError) as error:
                    failed.add(run)
                    failures.append(f'{run.title}: {error}')
                    progress.console.print(f'{run.title}: failed', style='red', markup=False, soft_wrap=True)
                    continue
                work.store.append(result)
                if work.clean:
                    clean_run(work.out, run)
                progress.console.print(
                    _progress_line(work, run, result, len(runs) - number), highlight=False, soft_wrap=True
                )
    return Outcome(failures, [run.title for run in unfinished])


def execute_here(work: Queue, runs: Sequence[Run]) -> Iterable[tuple[Run, Callable[[], Result]]]:
    """Execute runs on this machine, which simultaneous ones share.

    Args:
        work (Queue): The comparison and how it is executed.
        runs (Sequence[Run]): The runs.

    Yields:
        tuple[Run, Callable[[], Result]]: A finished run, and a function that returns its result or raises its error.
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(max(work.jobs, 1)):
        slots.put(slot)

    def execute(run: Run) -> Result:
        if work.is_over:
            raise DeadlineError('not started before the deadline')
        slot = slots.get()
        try:
            return execute_run(work.comparison, run, work.out, environment(slot, work.jobs), work.stop_at)
        finally:
            slots.put(slot)

    pool = ThreadPoolExecutor(max(work.jobs, 1))
    try:
        futures: dict[Future[Result], Run] = {pool.submit(execute, run): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result
    except BaseException:
        # An interrupt ends the running trainings, which resume later; those in the queue do not start.
        pool.shutdown(wait=False, cancel_futures=True)
        end_running_processes()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def environment(slot: int, jobs: int) -> dict[str, str]:
    """Return environment variables that distribute simultaneous trainings over the GPUs, or over the CPU cores.

    Args:
        slot (int): Number of the training among the simultaneous ones.
        jobs (int): Number of simultaneous trainings.

    Returns:
        dict[str, str]: The variables.
    """
    variables = dict(os.environ)
    if torch.cuda.is_available():
        visible = variables.get('CUDA_VISIBLE_DEVICES')
        devices = visible.split(',') if visible else [str(index) for index in range(torch.cuda.device_count())]
        variables['CUDA_VISIBLE_DEVICES'] = devices[slot % len(devices)]
    elif jobs > 1:
        variables.setdefault('OMP_NUM_THREADS', str(max(len(os.sched_getaffinity(0)) // jobs, 1)))
    return variables


def _progress_line(work: Queue, run: Run, result: Result, remaining: int) -> str:
    """Return a line with the result, the time that the other runs will take, and the disk space in use."""
    value = result['select']['last'] if result['report'] is None else result['report']['value']
    line = f'{run.title}: {value:.4g} ({result["minutes"]:.1f} min)'
    minutes = statistics.fmean(r['minutes'] for r in work.store.results if r.get('stage') == run.stage)
    if remaining:
        line += f'; {remaining} runs of the {run.stage} remain, about {minutes * remaining / max(work.jobs, 1):.0f} min'
    return f'{line}; {disk_usage(work.out) / 1e9:.2f} GB in {work.out}'


def disk_usage(folder: Path) -> int:
    """Return the size of all files in a folder.

    Args:
        folder (Path): The folder.

    Returns:
        int: Bytes.
    """

    def size(path: Path) -> int:
        try:
            return path.stat().st_size if path.is_file() else 0
        except OSError:
            return 0

    return sum(map(size, folder.rglob('*')))
