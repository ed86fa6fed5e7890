"""Works through the missing runs of a comparison, on this machine or as Slurm jobs."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .comparison import Comparison
from .comparison_plan import Plan, Run, make_plan, screening_sentence, stage_runs
from .comparison_results import Result, ResultStore, comparable_settings
from .comparison_runs import clean_run, execute_run
from .comparison_settings import check_same_settings, training_settings
from .comparison_slots import environment, execute_in_slots
from .configs import parse_options
from .training import DeadlineError

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

    def results(self, stage: str) -> list[Result]:
        """Return the results of a stage.

        Args:
            stage (str): ``'screening'`` or ``'confirmation'``.

        Returns:
            list[Result]: The results of the present configs.
        """
        return self.store.find_all(stage_runs(self.comparison, self.plan(), stage))

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
    unfinished: set[Run] = set()
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task('trainings', total=None)
        is_announced = False
        while (runs := work.missing(work.plan(), failed)) and not unfinished:
            plan = work.plan()
            if plan.screened and runs[0].stage == 'confirmation' and not is_announced:
                sentence = screening_sentence(work.comparison, plan)
                progress.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
                is_announced = True
            progress.update(bar, total=len(runs), completed=0, description=runs[0].stage)
            for number, (run, finish) in enumerate((executor or execute_here)(work, runs), 1):
                progress.advance(bar)
                try:
                    result = finish()
                except DeadlineError:
                    unfinished.add(run)
                    continue
                except (RuntimeError, OSError, ValueError) as error:
                    failed.add(run)
                    failures.append(f'{run.title}: {error}')
                    progress.console.print(f'{run.title}: failed', style='red', markup=False, soft_wrap=True)
                    continue
                work.store.append(result)
                if work.store.find(run) is None:
                    # It would be repeated without end.
                    failed.add(run)
                    failures.append(f'{run.title}: {_changed_sentence(run)}')
                    continue
                if work.clean:
                    clean_run(work.out, run)
                progress.console.print(
                    _progress_line(work, run, result, len(runs) - number), highlight=False, soft_wrap=True
                )
    return Outcome(failures, [run.title for run in runs if run in unfinished])


def check_settings(work: Queue) -> None:
    """Raise an error, before any training, if the next run on this machine could not be compared with the results of its stage.

    Args:
        work (Queue): The comparison and how it is executed.

    Raises:
        ConfigValueError: Its settings would differ.
    """
    first_of_seed = {run.seed: run for run in reversed(work.missing(work.plan()))}
    if first_of_seed:
        runs = list(first_of_seed.values())
        settings = _next_result(work, runs[-1])['settings']
        new = [dict(variant=run.setting.variant.name, seed=run.seed, settings=settings) for run in reversed(runs)]
        check_same_settings([*work.results(runs[0].stage), *new])


def drop_other_settings(work: Queue, is_here: bool) -> None:
    """Drop the results that cannot be compared with the next run, so that they are repeated.

    Args:
        work (Queue): The comparison and how it is executed.
        is_here (bool): Whether the next run is on this machine. Otherwise, its settings are taken from the latest result.
    """
    store = work.store
    runs = work.missing(work.plan()) or [Run(setting, work.comparison.seeds[0]) for setting in work.plan().confirmed]
    if is_here and runs:
        latest = _next_result(work, runs[0])
    elif store.results:
        latest = store.results[-1]
    else:
        return
    standard = comparable_settings(latest)
    store.results = [result for result in store.results if comparable_settings(result) == standard]
    hosts: dict[int, set[str]] = {}
    for result in store.results:
        hosts.setdefault(result['seed'], set()).add(result['settings']['host'])
    if is_here:
        for run in work.missing(work.plan()):
            hosts.setdefault(run.seed, set()).add(latest['settings']['host'])
    store.results = [result for result in store.results if len(hosts[result['seed']]) == 1]


def _next_result(work: Queue, run: Run) -> Result:
    """Return the settings that a run on this machine would have."""
    options = parse_options(work.comparison.training_options(run.setting.options, run.stage))
    settings = training_settings(
        run.setting.variant.config, options, work.comparison.train_args, environment(0, work.jobs)
    )
    return dict(variant=run.setting.variant.name, seed=run.seed, settings=settings)


def execute_here(work: Queue, runs: Sequence[Run]) -> Iterable[tuple[Run, Callable[[], Result]]]:
    """Execute runs on this machine, which simultaneous ones share.

    Args:
        work (Queue): The comparison and how it is executed.
        runs (Sequence[Run]): The runs.

    Yields:
        tuple[Run, Callable[[], Result]]: A finished run, and a function that returns its result or raises its error.
    """

    def execute(run: Run, variables: Mapping[str, str]) -> Result:
        if work.is_over:
            raise DeadlineError('not started before the deadline')
        return execute_run(work.comparison, run, work.out, variables, work.stop_at)

    yield from execute_in_slots(work.jobs, runs, execute)


def _changed_sentence(run: Run) -> str:
    return (
        f'{run.setting.variant.config}, its teacher or its splits are not what they were when the comparison was started: start it again; '
        'if this happens again, the config contains a value that is different each time or on each machine, a time for example: make it '
        'constant.'
    )


def _progress_line(work: Queue, run: Run, result: Result, remaining: int) -> str:
    """Return a line with the result, the time that the other runs will take, and the disk space in use."""
    value = result['select']['last'] if result['report'] is None else result['report']['value']
    line = f'{run.title}: {value:.4g} ({result["minutes"]:.1f} min)'
    minutes = statistics.fmean(r['minutes'] for r in work.store.results if r.get('stage') == run.stage)
    if remaining:
        runs = '1 run' if remaining == 1 else f'{remaining} runs'
        line += f'; {runs} of the {run.stage} left, about {minutes * remaining / max(work.jobs, 1):.0f} min'
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
