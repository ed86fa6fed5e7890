"""Check that a training which is killed and resumed is bit-identical to an uninterrupted one."""

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lckd_mm.checkpoint import load_data
from lckd_mm.datasets import DigitSceneSettings, make_digit_scenes
from lckd_mm.errors import ConfigRuntimeError

from .resume_cases import Case

Start = Callable[[list[str], Path], BaseProcess]

# Times, and the paths of files in the work directory.
_IGNORED = re.compile(
    r'(^|/)(time|data_time|eta|memory|mmengine_version|experiment_name|cfg|last_ckpt|best_ckpt|timestamp)$'
)
# Seconds in which a training must write its first line.
_START_LIMIT = 600.0


def check_case(case: Case, folder: Path, num_kills: int, start: Start, seed: int = 0) -> dict[str, Any]:
    """Kill a training at random moments, resume it until its end, and compare it with the uninterrupted training.

    A training that ends before the next moment is followed by another one. The uninterrupted training is kept in the folder, so that a
    second call does not repeat it.

    Args:
        case (Case): The training.
        folder (Path): Folder of the trainings.
        num_kills (int): Number of moments.
        start (Start): Starts a process that leads a process group, with arguments of ``train`` and a file for its output.
        seed (int): Seed of the moments. Defaults to 0.

    Returns:
        dict[str, Any]: Name of the case, the moments in seconds after the first line of scalars, the number of resumed trainings that
            were compared, the number of compared values, and the differences.

    Raises:
        ConfigRuntimeError: A training failed.
    """
    config, reference = _prepare(case, folder), folder / case.name / 'uninterrupted'
    duration_file = reference / 'duration'
    if not duration_file.exists():
        shutil.rmtree(reference, ignore_errors=True)
        seconds = _train(case, start, config, reference, None)
        duration_file.write_text(str(seconds))
    duration = float(duration_file.read_text())
    expected = read_run(reference)
    # A text as seed does not depend on the order of the cases.
    moments, num_runs = random.Random(f'{seed} {case.name}'), 0
    kills: list[float] = []
    differences: list[str] = []
    while len(kills) < num_kills:
        work_dir = folder / case.name / f'interrupted_{num_runs}'
        shutil.rmtree(work_dir, ignore_errors=True)
        is_finished = False
        while not is_finished:
            moment = moments.uniform(0, duration) if len(kills) < num_kills else None
            is_finished = _train(case, start, config, work_dir, moment) is not None
            if not is_finished and moment is not None:
                kills.append(round(moment, 2))
        num_runs += 1
        differences += [f'run {num_runs}: {line}' for line in compare_runs(expected, read_run(work_dir))]
    return dict(
        case=case.name, seed=seed, kills=kills, runs=num_runs, compared=len(expected), differences=differences[:20]
    )


def _prepare(case: Case, folder: Path) -> Path:
    """Write the data set and the config of a case."""
    data = folder / 'data'
    if not data.exists():
        make_digit_scenes(data, DigitSceneSettings(num_train=10, num_val=6, num_test=1), progress=False)
    config = folder / case.name / f'{case.name.replace("-", "_")}.py'
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(case.config(data.resolve()))
    return config


def _train(case: Case, start: Start, config: Path, work_dir: Path, moment: float | None) -> float | None:
    """Train, or resume, and kill the training with its workers.

    Args:
        case (Case): The training.
        start (Start): Starts it.
        config (Path): Its config.
        work_dir (Path): Its work directory.
        moment (float | None): Seconds from the first line of scalars to the kill. None for no kill.

    Returns:
        float | None: Seconds from the first line to the end, None if the training was killed.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    log = work_dir / 'train.log'
    process = start([str(config), '--work-dir', str(work_dir), '--resume', *case.arguments], log)
    begin = _wait_for_scalars(process, work_dir)
    process.join(moment)
    if process.exitcode is None:
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return None
    if process.exitcode:
        raise ConfigRuntimeError(f'{case.name}: {log.read_text().strip().splitlines()[-1]} (complete log: {log})')
    return time.monotonic() - begin


def _wait_for_scalars(process: BaseProcess, work_dir: Path) -> float:
    """Wait until a training has written a line of scalars, or has ended."""
    before = {path: path.stat().st_size for path in work_dir.glob('*/vis_data/scalars.json')}
    start = time.monotonic()
    while process.exitcode is None and time.monotonic() < start + _START_LIMIT:
        paths = work_dir.glob('*/vis_data/scalars.json')
        if any(path.stat().st_size > before.get(path, 0) for path in paths):
            break
        time.sleep(0.02)
    return time.monotonic()


def read_run(work_dir: Path) -> dict[str, Any]:
    """Read everything of a training that must be the same after it was resumed.

    Args:
        work_dir (Path): The work directory.

    Returns:
        dict[str, Any]: The values by name: those of the last and of the best checkpoint, all lines of scalars, and the table of spectral
            norms. Times and paths are omitted.
    """
    checkpoints = sorted(work_dir.glob('*.pth'), key=_position)
    best = [path for path in checkpoints if path.name.startswith('best_')]
    latest = [path for path in checkpoints if path not in best][-1:]
    run = {f'{path.name}/{name}': value for path in best + latest for name, value in _leaves(load_data(path, 'cpu'))}
    run = {name: value for name, value in run.items() if not _IGNORED.search(name)}
    run['checkpoints'] = [path.name for path in best + latest]
    run['scalars'] = sorted(_scalar_lines(work_dir))
    norms = work_dir / 'lipschitz' / 'spectral_norms.csv'
    run['spectral_norms'] = norms.read_text() if norms.exists() else ''
    return run


def _position(path: Path) -> int:
    return int(re.findall(r'\d+', path.stem)[-1])


def _scalar_lines(work_dir: Path) -> Iterator[str]:
    for path in work_dir.glob('*/vis_data/scalars.json'):
        for line in path.read_text().splitlines():
            scalars = {key: value for key, value in json.loads(line).items() if not _IGNORED.search(key)}
            yield json.dumps(scalars)


def _leaves(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values in nested containers with their paths."""
    if (
        isinstance(value, dict)
        and set(value) == {'log_history', 'count_history', 'max_length'}
        and _IGNORED.search(name)
    ):
        return
    items: Iterable[tuple[Any, Any]] | None = None
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    if items is None:
        yield name, value
        return
    for key, item in items:
        yield from _leaves(item, f'{name}/{key}' if name else str(key))


def compare_runs(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Compare two trainings bit by bit.

    Args:
        expected (dict[str, Any]): The uninterrupted training, of :func:`read_run`.
        actual (dict[str, Any]): The resumed training.

    Returns:
        list[str]: One line for each difference.

    Example:
        >>> compare_runs(dict(weight=torch.zeros(2), lr=0.1), dict(weight=torch.tensor([0.0, -0.0]), lr=0.1))
        ['weight differs: tensor([0., 0.]) in the uninterrupted training, tensor([0., -0.]) in the resumed one']
    """
    lines = [f'{name} is missing in the resumed training' for name in expected if name not in actual]
    lines += [f'{name} is only in the resumed training' for name in actual if name not in expected]
    for name in expected:
        if name in actual and not _is_identical(expected[name], actual[name]):
            first, second = _excerpt(expected[name], actual[name])
            lines.append(f'{name} differs: {first} in the uninterrupted training, {second} in the resumed one')
    return lines


def _is_identical(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and first.shape == second.shape and _bytes(first) == _bytes(second)
    if isinstance(first, float) and isinstance(second, float):
        return np.float64(first).tobytes() == np.float64(second).tobytes()
    return type(first) is type(second) and bool(first == second)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _excerpt(first: Any, second: Any) -> tuple[str, str]:
    if isinstance(first, list) and isinstance(second, list):
        only = [item for item in first if item not in second], [item for item in second if item not in first]
        return f'{len(first)} with {only[0][:1]}', f'{len(second)} with {only[1][:1]}'
    return str(first)[:100], str(second)[:100]
