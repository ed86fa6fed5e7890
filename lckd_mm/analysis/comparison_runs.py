"""The single runs of a comparison: a training, its evaluations, and its result."""

import datetime
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import Progress, TextColumn, TimeElapsedColumn

from lckd_mm.atomic_files import write_text
from lckd_mm.errors import ConfigRuntimeError

from .comparison import Comparison, Teacher
from .comparison_plan import Run
from .comparison_results import Result, comparable_settings
from .comparison_settings import training_settings
from .comparison_splits import find_splits
from .configs import parse_options
from .logs import Reading, Scalars, median_seconds, read_scalars
from .training import LOCK_FILE, DeadlineError, last_checkpoint, log_message, run_test, run_training

# The settings that a work directory was trained with.
_SETTINGS = 'settings.json'


def execute_run(
    comparison: Comparison, run: Run, out: Path, environment: Mapping[str, str], stop_at: float | None = None
) -> Result:
    """Train one setting with one seed, or resume its training, and evaluate it.

    Args:
        comparison (Comparison): The comparison.
        run (Run): The run.
        out (Path): Folder of the comparison.
        environment (Mapping[str, str]): Environment variables of the training.
        stop_at (float, optional): Value of ``time.monotonic()`` at which the run is ended. Defaults to None.

    Returns:
        Result: One line of ``results.jsonl``.

    Raises:
        ConfigRuntimeError: The training or an evaluation failed, or was ended.
    """
    start, work_dir, config = time.monotonic(), out / run.folder, run.setting.variant.config
    options = comparison.training_options(run.setting.options, run.stage)
    settings = training_settings(config, parse_options(options), comparison.train_args, environment)
    result: Result = dict(
        variant=run.setting.variant.name,
        config=config,
        options=list(run.setting.options),
        seed=run.seed,
        stage=run.stage,
        metric=comparison.metric,
        settings=settings,
    )
    seed = f'randomness.seed={run.seed}'
    arguments = [*comparison.train_args, '--cfg-options', seed, *options]
    run_training(config, work_dir, arguments, environment, stop_at=stop_at, prepare=lambda: _prepare(work_dir, result))
    result |= summarize(read_scalars(work_dir), comparison.metric, comparison.lower_is_better)
    splits = find_splits(comparison, config, run.setting.options)

    def evaluate(name: str, *further: str) -> float:
        arguments = ['--cfg-options', seed, *options, *further]
        checkpoint, folder = last_checkpoint(work_dir), work_dir / name
        # Metrics of an earlier evaluation are not read again.
        shutil.rmtree(folder, ignore_errors=True)
        return _metric(run_test(config, checkpoint, folder, arguments, environment, stop_at), comparison.metric)

    result['select']['split'] = splits.select
    if splits.select == 'test':
        result['select']['last'] = evaluate('select')
    result['report'] = None
    if run.stage == 'confirmation':
        if splits.same_evaluation:
            value = result['select']['last']
        elif splits.report == 'val':
            value = result['select']['values'][-1]
        else:
            value = evaluate('report', *comparison.report_options)
        result['report'] = dict(split=splits.report, value=value, options=list(comparison.report_options))
    result['minutes'] = (time.monotonic() - start) / 60
    result['finished'] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')
    return result


def _prepare(work_dir: Path, result: Result) -> None:
    """Empty a work directory whose training had other settings, since it must not be resumed."""
    path = work_dir / _SETTINGS
    identity = dict(comparable_settings(result), **{key: result['settings'][key] for key in ('config', 'teacher')})
    if path.is_file():
        if json.loads(path.read_text()) == identity:
            return
        for entry in work_dir.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK_FILE:
                entry.unlink()
    write_text(path, json.dumps(identity))


def _metric(metrics: Mapping[str, object], metric: str) -> float:
    if metric not in metrics:
        raise ConfigRuntimeError(
            f'metric {metric!r} is not in the evaluation of the test data; evaluated metrics: {sorted(metrics)}; let '
            'test_evaluator compute it, or set the metric to one of them.'
        )
    return float(metrics[metric])  # type: ignore[arg-type]


def clean_run(out: Path, run: Run) -> int:
    """Delete the checkpoints of a finished run. Its logs stay.

    Args:
        out (Path): Folder of the comparison.
        run (Run): The run.

    Returns:
        int: The number of bytes.
    """
    paths = [path for path in (out / run.folder).rglob('*.pth') if path.is_file()]
    size = sum(path.stat().st_size for path in paths)
    for path in paths:
        path.unlink()
    return size


def summarize(scalars: Scalars, metric: str, lower_is_better: bool = False) -> Result:
    """Return the course of a metric and the losses of a training.

    Args:
        scalars (Scalars): The scalars of the training.
        metric (str): Name of the metric.
        lower_is_better (bool): Whether the best value is the smallest. Defaults to False.

    Returns:
        Result: In ``select``, the metric at each evaluation, its last and its best value; the median duration of an iteration, and
        the losses of the first and of the last reading.

    Raises:
        ConfigRuntimeError: The metric was never evaluated, or no loss was logged.

    Example:
        >>> summarize(Scalars({1: {'loss': 2.0, 'time': 0.5}}, {1: {'mIoU': 41.0}, 2: {'mIoU': 40.0}}), 'mIoU')['select']
        {'steps': [1, 2], 'values': [41.0, 40.0], 'last': 40.0, 'best': 41.0}
    """
    steps = sorted(step for step, reading in scalars.val.items() if metric in reading)
    if not steps:
        valid = sorted({key for reading in scalars.val.values() for key in reading} - {'step'})
        raise ConfigRuntimeError(
            f'metric {metric!r} was never evaluated; evaluated metrics: {valid}; set the metric to one of them.'
        )
    if not scalars.train:
        raise ConfigRuntimeError(
            'the training is shorter than the interval of its log, which therefore has no losses: reduce default_hooks.logger.interval.'
        )
    values = [scalars.val[step][metric] for step in steps]
    train_steps = sorted(scalars.train)
    best = min(values) if lower_is_better else max(values)
    return dict(
        select=dict(steps=steps, values=values, last=values[-1], best=best),
        seconds_per_iteration=median_seconds(scalars.train),
        first_losses=_losses(scalars.train[train_steps[0]]),
        last_losses=_losses(scalars.train[train_steps[-1]]),
    )


def train_teacher(teacher: Teacher, train_args: Sequence[str], stop_at: float | None = None) -> None:
    """Train the teacher, or resume its training, if its checkpoint does not exist.

    Args:
        teacher (Teacher): The teacher. The folder of its checkpoint becomes the work directory.
        train_args (Sequence[str]): Further arguments of ``train``.
        stop_at (float, optional): Value of ``time.monotonic()`` at which the training is ended. Defaults to None.

    Raises:
        DeadlineError: The training was ended at ``stop_at``.
        ConfigRuntimeError: The training failed, or did not write the checkpoint.
    """
    if teacher.checkpoint.is_file():
        return
    work_dir = teacher.checkpoint.parent
    options = ['--cfg-options', *teacher.options] if teacher.options else []
    with Progress(TextColumn('teacher: {task.description}'), TimeElapsedColumn()) as progress:
        progress.console.print(f'teacher: training {teacher.config}, log in {work_dir / "train.log"}')
        bar = progress.add_task('starting', total=None)

        def show(line: str) -> None:
            message = log_message(line)
            if message.startswith(('Epoch(', 'Iter(')):
                progress.update(bar, description=message[:100])

        try:
            run_training(teacher.config, work_dir, [*train_args, *options], on_line=show, stop_at=stop_at)
        except DeadlineError:
            raise
        except ConfigRuntimeError as error:
            raise ConfigRuntimeError(f'the training of the teacher failed: {error}') from error
    if not teacher.checkpoint.is_file():
        names = sorted(path.name for path in work_dir.glob('*.pth'))
        raise ConfigRuntimeError(
            f'the training of the teacher wrote {names} to {str(work_dir)!r}, but not {teacher.checkpoint.name!r}: set '
            '`checkpoint` of the teacher to one of them, or correct `teacher_ckpt` of the variants.'
        )


def _losses(reading: Reading) -> dict[str, float]:
    return {key: value for key, value in reading.items() if 'loss' in key and isinstance(value, (int, float))}
