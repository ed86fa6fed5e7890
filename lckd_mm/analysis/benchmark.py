"""What the benchmarks share: the clock, the description of the machine, and the files of a report."""

import datetime
import itertools
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lckd_mm.atomic_files import write_text

from .comparison_settings import environment_settings


def synchronized_time(device: str) -> float:
    """Return the time in seconds after all work on the device has finished.

    Args:
        device (str): ``'cpu'`` or ``'cuda'``.

    Returns:
        float: Seconds from an arbitrary origin.
    """
    if device.startswith('cuda'):
        torch.cuda.synchronize()
    return time.perf_counter()


def describe_machine(device: str) -> str:
    """Return the name of the GPU, or the name of the CPU with the number of threads.

    Args:
        device (str): ``'cpu'`` or ``'cuda'``.

    Returns:
        str: The description.

    Example:
        >>> describe_machine('cpu').endswith(('1 thread', ' threads'))
        True
    """
    if device == 'cuda':
        return str(torch.cuda.get_device_name())
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.exists() else []
    model = next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), platform.processor())
    num_threads = torch.get_num_threads()
    return f'{model}, {num_threads} thread{"s" * (num_threads > 1)}'


def describe_run(subject: str, device: str, precision: str, command: str, machine: str | None = None) -> dict[str, Any]:
    """Return the header of the record of a benchmark: everything that a result depends on besides the settings of the benchmark.

    Args:
        subject (str): What is measured.
        device (str): ``'cpu'`` or ``'cuda'``.
        precision (str): Data type of the computation.
        command (str): The command line.
        machine (str, optional): Description of the machine. Defaults to None, that of :func:`describe_machine`.

    Returns:
        dict: ``title``, ``date``, ``commit``, ``is_dirty``, ``versions``, ``machine`` and ``command``.

    Example:
        >>> header = describe_run('Training steps', 'cpu', 'float32', 'python benchmark.py')
        >>> header['title'].startswith(f'Training steps, {header["machine"]}, float32, torch ')
        True
    """
    settings = environment_settings()
    machine = machine or describe_machine(device)
    return dict(
        title=f'{subject}, {machine}, {precision}, torch {torch.__version__}',
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        **{key: settings[key] for key in ('commit', 'is_dirty', 'versions')},
        machine=machine,
        command=command,
    )


def describe_origin(record: Mapping[str, Any]) -> str:
    """Return the sentence from which a reader of a table learns where its figures are from.

    Args:
        record (Mapping[str, Any]): The record of a benchmark, with its header.

    Returns:
        str: Title, commit and date.

    Example:
        >>> describe_origin(dict(title='Steps, CPU', commit='61d0cc615dbf', is_dirty=True, date='2026-11-26T23:02:37+00:00'))
        'Steps, CPU, commit 61d0cc6 with uncommitted changes, 2026-11-26.'
    """
    commit = f'commit {record["commit"][:7]}' if record['commit'] else 'no commit'
    changes = ' with uncommitted changes' if record['is_dirty'] else ''
    return f'{record["title"]}, {commit}{changes}, {record["date"][:10]}.'


def peak_memory(function: Callable[[], object], device: str) -> int:
    """Return the largest amount of memory that a computation adds to what is allocated before it.

    On a CPU the memory of PyTorch's allocator is measured. It does not contain the buffers of the BLAS library.

    Args:
        function (Callable): The computation. What it returns is freed after the measurement.
        device (str): ``'cpu'`` or ``'cuda'``.

    Returns:
        int: Bytes.

    Example:
        >>> peak_memory(lambda: torch.zeros(1000), 'cpu')
        4000
    """
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        return torch.cuda.max_memory_allocated() - before
    # The profiler of torch 2.13 prints two lines to standard error for each profile, unless its threshold is high.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = function()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == '[memory]']
    allocated = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    del result
    return max(allocated, default=0)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean.

    Args:
        values (Sequence[float]): Positive numbers.

    Returns:
        float: Their geometric mean.

    Example:
        >>> round(geometric_mean([1.0, 4.0]), 6)
        2.0
    """
    return math.exp(statistics.fmean(map(math.log, values)))


def write_report(folder: Path, record: dict[str, Any], lines: Sequence[str]) -> None:
    """Write ``benchmark.json`` and ``benchmark.md``.

    Args:
        folder (Path): Their folder.
        record (dict): The content of the JSON file.
        lines (Sequence[str]): The lines of the Markdown file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / 'benchmark.json', json.dumps(record, indent=1))
    write_text(folder / 'benchmark.md', '\n'.join([*lines, '']))
