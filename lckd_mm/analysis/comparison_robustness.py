"""The evaluation of confirmed runs on corrupted images: its settings, its results, and how it is executed."""

import datetime
import json
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lckd_mm.dependencies import find_version
from lckd_mm.engine.corruptions import UNCORRUPTED
from lckd_mm.engine.transforms.corrupt_image import PACKAGES, check_imagecorruptions
from lckd_mm.errors import ConfigFileNotFoundError, ConfigValueError

from .comparison import Comparison
from .comparison_plan import Run, make_plan, stage_runs
from .comparison_queue import Outcome, Queue
from .comparison_results import Result, ResultStore, append_result, read_results
from .comparison_slots import execute_in_slots
from .corrupted_test import CLEAN
from .training import DeadlineError, last_checkpoint, run_corrupted_test

FILE = 'robustness.jsonl'
# Keeps the corrupted images until all runs are evaluated.
_IMAGES = 'corrupted_images'

Line = dict[str, Any]
# The lines of a run by corruption and severity.
Lines = Mapping[tuple[str, int], Line]


@dataclass(frozen=True)
class RobustnessStore:
    """The evaluations of a comparison on corrupted images.

    Attributes:
        comparison: The comparison, with a value for ``report_on``.
        results: The results of its runs.
        out: Folder of ``robustness.jsonl``.
    """

    comparison: Comparison
    results: ResultStore
    out: Path

    def runs(self) -> dict[Run, Result]:
        """Return the finished runs of the confirmation and their results."""
        plan = make_plan(self.comparison, self.results.selection)
        found = ((run, self.results.find(run)) for run in stage_runs(self.comparison, plan, 'confirmation'))
        return {run: result for run, result in found if result is not None}

    def identity(self, result: Result) -> Line:
        """Return what an evaluation depends on besides corruption and severity: the training, the images and the metrics."""
        comparison = self.comparison
        return dict(
            config=result['config'],
            options=result['options'],
            seed=result['seed'],
            trained=result['finished'],
            split=comparison.report_on,
            evaluation_options=[*comparison.report_options, *comparison.robustness.options],
            added_metrics=list(comparison.robustness.metrics),
        )

    def lines(self) -> dict[Run, Lines]:
        """Return the evaluations of each finished run, as far as there are any.

        Raises:
            ConfigValueError: They are from different versions of the packages that corrupt images.
        """
        stored = read_results(self.out / FILE)
        by_run: dict[Run, Lines] = {}
        for run, result in self.runs().items():
            identity = self.identity(result)
            matching = [line for line in stored if all(line.get(key) == value for key, value in identity.items())]
            needed = (CLEAN, *self.comparison.robustness.evaluations)
            by_pair = {(line['corruption'], line['severity']): line for line in matching}
            by_run[run] = {pair: by_pair[pair] for pair in needed if pair in by_pair}
        self._check_versions(line for lines in by_run.values() for line in lines.values())
        return by_run

    def _check_versions(self, lines: Iterable[Line]) -> None:
        versions = {json.dumps(line['versions'], sort_keys=True) for line in lines}
        if len(versions) > 1:
            raise ConfigValueError(
                f'{self.out / FILE} has evaluations with different packages, {" and ".join(sorted(versions))}: delete the file, and '
                'evaluate all runs again with one version of each.'
            )


def find_checkpoint(work_dir: Path) -> Path:
    """Return the last checkpoint of a training, also if its folder was moved.

    Args:
        work_dir (Path): The work directory.

    Returns:
        Path: The checkpoint.

    Raises:
        ConfigFileNotFoundError: It does not exist.
    """
    checkpoint = last_checkpoint(work_dir)
    path = checkpoint if checkpoint.is_file() else work_dir / checkpoint.name
    if not path.is_file():
        raise ConfigFileNotFoundError(
            f'its checkpoint {str(checkpoint)!r} was deleted: evaluate robustness before --clean, or delete its line from results.jsonl, '
            'which trains it again.'
        )
    return path


def evaluate_robustness(work: Queue) -> Outcome:
    """Evaluate the finished runs of the confirmation on corrupted images; existing evaluations are not repeated.

    All evaluations of a run are in one process. Each image is corrupted once, by the first process that needs it.

    Args:
        work (Queue): The comparison and how it is executed.

    Returns:
        Outcome: What was not finished.

    Raises:
        ConfigRuntimeError: imagecorruptions is not installed.
        ConfigValueError: No run is finished.
    """
    check_imagecorruptions()
    store = RobustnessStore(work.comparison, work.store, work.out)
    needed = (CLEAN, *work.comparison.robustness.evaluations)
    results = store.runs()
    missing = {run: [pair for pair in needed if pair not in lines] for run, lines in store.lines().items()}
    if not missing:
        raise ConfigValueError(
            f'{work.store.path} has no finished run that could be evaluated: train the variants first.'
        )
    runs = [run for run, pairs in missing.items() if pairs]
    # Simultaneous processes start with different corruptions, so that they do not compute the same images.
    for number, run in enumerate(runs):
        pairs = [pair for pair in missing[run] if pair != CLEAN]
        start = number * len(pairs) // len(runs)
        # Each process evaluates the images as they are before all others.
        missing[run] = [*(pair for pair in missing[run] if pair == CLEAN), *pairs[start:], *pairs[:start]]
    failures: list[str] = []
    unfinished: list[str] = []
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bar = progress.add_task('corrupted images', total=sum(map(len, missing.values())))

        def execute(run: Run, environment: Mapping[str, str]) -> None:
            if work.is_over:
                raise DeadlineError('not started before the deadline')
            _evaluate_run(
                store, run, results[run], missing[run], environment, work.stop_at, lambda: progress.advance(bar)
            )

        for run, finish in execute_in_slots(work.jobs, runs, execute):
            try:
                finish()
            except DeadlineError:
                unfinished.append(run.title)
            except (RuntimeError, OSError, ValueError) as error:
                failures.append(f'{run.title}: {error}')
                progress.console.print(f'{run.title}: failed', style='red', markup=False, soft_wrap=True)
            else:
                progress.console.print(f'{run.title}: evaluated on corrupted images', highlight=False, soft_wrap=True)
    if not failures and not unfinished:
        shutil.rmtree(work.out / _IMAGES, ignore_errors=True)
    return Outcome(failures, unfinished)


_WRITING = threading.Lock()


def _evaluate_run(
    store: RobustnessStore,
    run: Run,
    result: Result,
    pairs: Sequence[tuple[str, int]],
    environment: Mapping[str, str],
    stop_at: float | None,
    advance: Any,
) -> None:
    comparison, work_dir = store.comparison, store.out / run.folder
    checkpoint, folder = find_checkpoint(work_dir), work_dir / 'robustness'
    shutil.rmtree(folder, ignore_errors=True)
    header = store.identity(result) | dict(versions={name: find_version(name) for name in PACKAGES})

    def add(line: Line) -> None:
        # The images as they are are evaluated by each process.
        if (line['corruption'], line['severity']) in pairs:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
            with _WRITING:
                append_result(
                    store.out / FILE, {'variant': run.setting.variant.name, **header, **line, 'finished': now}
                )
            advance()

    options = comparison.training_options(run.setting.options, run.stage)
    further = (*comparison.report_options, *comparison.robustness.options)
    arguments = [
        '--split',
        str(comparison.report_on),
        '--cfg-options',
        f'randomness.seed={run.seed}',
        *options,
        *further,
    ]
    if comparison.robustness.metrics:
        arguments += ['--add-metrics', *comparison.robustness.metrics]
    arguments += ['--corrupted-images', str(store.out / _IMAGES)]
    corrupted = [f'{name}:{severity}' for name, severity in pairs if (name, severity) != CLEAN]
    arguments += ['--corruptions', *(corrupted or [UNCORRUPTED])]
    run_corrupted_test(run.setting.variant.config, checkpoint, folder, arguments, environment, add, stop_at)
