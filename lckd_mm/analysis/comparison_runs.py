"""The trainings of a comparison and the file of their results."""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lckd_mm.errors import ConfigRuntimeError

from .comparison import Comparison, Teacher, Variant
from .logs import Reading, Scalars, median_seconds, read_scalars
from .training import log_message, run_training

Result = dict[str, Any]


def read_results(path: str | Path) -> list[Result]:
    r"""Read a file of results. An incomplete line, which an interrupted comparison leaves, is omitted.

    Args:
        path (str | Path): A ``results.jsonl``.

    Returns:
        list[Result]: One result per variant and seed; empty if there is no such file.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, 'results.jsonl')
        ...     _ = path.write_text('{"seed": 0}\n{"see')
        ...     append_result(path, {'seed': 1})
        ...     read_results(path)
        [{'seed': 0}, {'seed': 1}]
    """
    results = []
    for line in Path(path).read_text().splitlines() if Path(path).exists() else ():
        try:
            results.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return results


def append_result(path: str | Path, result: Result) -> None:
    """Append a result to a file, on a line of its own even if the last line is incomplete.

    Args:
        path (str | Path): A ``results.jsonl``.
        result (Result): The result.
    """
    with Path(path).open('a+') as file:
        file.seek(0)
        text = file.read()
        file.write(('\n' if text and not text.endswith('\n') else '') + json.dumps(result) + '\n')


def is_result_of(result: Result, variant: Variant) -> bool:
    """Return whether a result belongs to a variant: the config and the options are the same; the name may differ.

    Args:
        result (Result): The result.
        variant (Variant): The variant.

    Returns:
        bool: Whether it does.

    Example:
        >>> is_result_of({'config': 'a.py', 'options': ['x=1']}, Variant('any', 'a.py', ('x=1',)))
        True
    """
    return (result['config'], tuple(result['options'])) == (variant.config, variant.options)


def train_teacher(teacher: Teacher, train_args: Sequence[str]) -> None:
    """Train the teacher, or resume its training, if its checkpoint does not exist.

    Args:
        teacher (Teacher): The teacher. The folder of its checkpoint becomes the work directory.
        train_args (Sequence[str]): Further arguments of ``train``.

    Raises:
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
            run_training(teacher.config, work_dir, [*train_args, *options], on_line=show)
        except ConfigRuntimeError as error:
            raise ConfigRuntimeError(f'the training of the teacher failed: {error}') from error
    if not teacher.checkpoint.is_file():
        names = sorted(path.name for path in work_dir.glob('*.pth'))
        raise ConfigRuntimeError(
            f'the training of the teacher wrote {names} to {str(work_dir)!r}, but not {teacher.checkpoint.name!r}: set '
            '`checkpoint` of the teacher to one of them, or correct `teacher_ckpt` of the variants.'
        )


def train_variants(comparison: Comparison, out: Path, jobs: int = 1) -> list[str]:
    """Train the variants and seeds without a result. The first seed of all variants comes first.

    Args:
        comparison (Comparison): The comparison.
        out (Path): Folder of ``results.jsonl`` and of the work directories ``runs/<variant>/seed<seed>``.
        jobs (int): Number of simultaneous trainings. Defaults to 1.

    Returns:
        list[str]: One sentence per failed training.
    """
    missing = _missing_runs(comparison, read_results(out / 'results.jsonl'))
    failures: list[str] = []
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress, ThreadPoolExecutor(max(jobs, 1)) as pool:
        bar = progress.add_task('trainings', total=len(missing))
        futures = {
            pool.submit(
                _train, comparison, variant, seed, out, _environment(index, jobs)
            ): f'{variant.name}, seed {seed}'
            for index, (variant, seed) in enumerate(missing)
        }
        for future in as_completed(futures):
            title = futures[future]
            progress.advance(bar)
            try:
                result = future.result()
            except (RuntimeError, OSError) as error:
                failures.append(f'{title}: {error}')
                progress.console.print(f'[red]{title}: failed[/red]')
                continue
            append_result(out / 'results.jsonl', result)
            progress.console.print(f'{title}: {result["last"]:.4g}, best {result["best"]:.4g}')
    return failures


def _missing_runs(comparison: Comparison, results: Sequence[Result]) -> list[tuple[Variant, int]]:
    return [
        (variant, seed)
        for seed in comparison.seeds
        for variant in comparison.variants
        if not any(
            is_result_of(result, variant) and (result['seed'], result['metric']) == (seed, comparison.metric)
            for result in results
        )
    ]


def _environment(index: int, jobs: int) -> dict[str, str]:
    """Return environment variables that distribute simultaneous trainings over the GPUs, or over the CPU cores."""
    environment = dict(os.environ)
    if torch.cuda.is_available():
        environment.setdefault('CUDA_VISIBLE_DEVICES', str(index % torch.cuda.device_count()))
    elif jobs > 1:
        environment.setdefault('OMP_NUM_THREADS', str(max((os.cpu_count() or 1) // jobs, 1)))
    return environment


def _train(comparison: Comparison, variant: Variant, seed: int, out: Path, environment: dict[str, str]) -> Result:
    """Train one variant with one seed and return its result."""
    work_dir, start = out / 'runs' / variant.folder / f'seed{seed}', time.monotonic()
    options = ['--cfg-options', f'randomness.seed={seed}', *variant.options]
    run_training(variant.config, work_dir, [*comparison.train_args, *options], environment)
    minutes = (time.monotonic() - start) / 60
    result = dict(
        variant=variant.name, config=variant.config, options=list(variant.options), seed=seed, minutes=minutes
    )
    return {**result, **summarize(read_scalars(work_dir), comparison.metric)}


def summarize(scalars: Scalars, metric: str) -> Result:
    """Return the course of a metric and the losses of a training.

    Args:
        scalars (Scalars): The scalars of the training.
        metric (str): Name of the metric.

    Returns:
        Result: The metric at each evaluation, its last and best value, the median duration of an iteration, and the losses of the
        first and of the last reading.

    Raises:
        ConfigRuntimeError: The metric was never evaluated.

    Example:
        >>> summarize(Scalars({1: {'loss': 2.0, 'time': 0.5}}, {1: {'mIoU': 41.0}, 2: {'mIoU': 40.0}}), 'mIoU')['best']
        41.0
    """
    steps = sorted(step for step, reading in scalars.val.items() if metric in reading)
    if not steps:
        valid = sorted({key for reading in scalars.val.values() for key in reading} - {'step'})
        raise ConfigRuntimeError(
            f'metric {metric!r} was never evaluated; evaluated metrics: {valid}; set the metric to one of them.'
        )
    values = [scalars.val[step][metric] for step in steps]
    train_steps = sorted(scalars.train)
    return dict(
        metric=metric,
        last=values[-1],
        best=max(values),
        steps=steps,
        values=values,
        seconds_per_iteration=median_seconds(scalars.train),
        first_losses=_losses(scalars.train[train_steps[0]]),
        last_losses=_losses(scalars.train[train_steps[-1]]),
    )


def _losses(reading: Reading) -> dict[str, float]:
    return {key: value for key, value in reading.items() if 'loss' in key and isinstance(value, (int, float))}
