"""A check that stock models can be distilled: taps are found, and a training step of a self-distillation does what it should."""

import copy
import datetime
import json
import math
import multiprocessing
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope

from lckd_mm.atomic_files import write_text
from lckd_mm.errors import ConfigError
from lckd_mm.json_lines import append_json_line, read_json_lines
from lckd_mm.models.utils import build_model

from .tap_finder import Tap
from .zoo_batch import AnnotationOptions
from .zoo_models import ZooModel, describe, plan_zoo, read_model, read_zoo_config
from .zoo_step import distillation_step

# Results: the step is taken, the model is refused with a sentence, an error, the package cannot build the model here, the limits are
# exceeded, and the model is of a group that is not checked.
STATUSES = ('works', 'refused', 'fails', 'not built', 'over limit', 'apart')
CPU_SECONDS = 60.0
MEMORY_BYTES = 8 * 2**30
# Pixels: more than the 300 of SSD, which has no maps of smaller images.
_LARGER_SIZE = (320, 320)
# Configs of a combination that are tried if the package cannot build the first, a deployed model for example.
_MAX_CONFIGS = 3
# Wall time per CPU second on a machine that other processes use as well.
_WAITING = 10


def check_model(path: Path, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Try the distillation of a stock model from a model of the same config.

    Args:
        path (Path): A config of an OpenMMLab package.
        size (tuple[int, int], optional): Height and width of the images. Defaults to None, as in :func:`find_taps`.

    Returns:
        dict: ``status``, one of :data:`STATUSES`; ``message``, the sentence or the exception; of a step also ``taps``, ``size`` of the
        images, ``step`` and ``reason`` as in :class:`StepResult`.

    Example:
        >>> from lckd_mm.analysis.stock_configs import stock_configs
        >>> path = next(path for path in stock_configs(['mmpretrain']) if path.name == 'mobilenet-v3-small-050_8xb128_in1k.py')
        >>> check_model(path)['taps'][0]
        'backbone.layer1 at 4'
    """
    torch.manual_seed(0)
    try:
        model = read_model(path)
        with DefaultScope.overwrite_default_scope(model['_scope_']):
            student, teacher = (build_model(copy.deepcopy(model)) for _ in range(2))
    except Exception as error:
        return dict(status='over limit' if _is_out_of_memory(error) else 'not built', message=describe(error))
    try:
        options = AnnotationOptions.from_pipeline(read_zoo_config(path).get('train_dataloader'))
        result = distillation_step(student, teacher, options, size)
    except Exception as error:
        is_refused = isinstance(error, ConfigError)
        if _is_out_of_memory(error):
            return dict(status='over limit', message=describe(error))
        return (
            dict(status='refused', message=str(error)) if is_refused else dict(status='fails', message=describe(error))
        )
    taps = [f'{_tap_name(tap)} at {tap.stride}' for tap in result.taps]
    is_reached = 0 < result.gradient < math.inf
    problems = [*result.problems, *([] if is_reached else [f'the gradient at the backbone is {result.gradient}'])]
    outcome: dict[str, Any] = dict(status='works')
    if problems:
        outcome = dict(status='fails', message='; '.join(problems[:3]))
    reason = dict(reason=result.reason) if result.reason else {}
    return dict(outcome, taps=taps, size=list(result.size), step=result.step, **reason)


def _tap_name(tap: Tap) -> str:
    """Return the module of a tap, with the index of the output and the call where they are needed."""
    indices = '' if tap.data_idx is None else f'[{tap.data_idx}]'
    return f'{tap.source}{indices}' + (f', call {tap.record_idx + 1}' if tap.record_idx else '')


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def read_plan(paths: Sequence[Path], plan_file: Path) -> list[ZooModel]:
    """Return the models to check; the list is read from its file if that exists, since all configs are read for it."""
    if not plan_file.exists():
        plan = plan_zoo(paths)
        write_text(plan_file, json.dumps([model._asdict() for model in plan], indent=0))
    return [ZooModel(**model) for model in json.loads(plan_file.read_text())]


def walk_zoo(plan: Sequence[ZooModel], results: Path, cpu_seconds: float = CPU_SECONDS) -> Iterator[dict[str, Any]]:
    """Check the first config of each combination of model types, each in a process of its own.

    Args:
        plan (Sequence[ZooModel]): The combinations.
        results (Path): File of one JSON object per line, which is continued if it exists.
        cpu_seconds (float): CPU time after which a check is ended. Defaults to 60.

    Yields:
        dict: ``package``, ``combination``, ``config``, ``num_configs``, ``group``, and the result of :func:`check_model`; for a model of a
        group the status ``'apart'``.
    """
    known = {(record['package'], record['combination']) for record in read_json_lines(results)}
    for model in plan:
        if (model.package, model.combination) in known:
            continue
        record = _check_combination(model, cpu_seconds)
        append_json_line(results, record)
        yield record


def _check_combination(model: ZooModel, cpu_seconds: float) -> dict[str, Any]:
    """Check the first config of a combination that the package can build."""
    if model.error:
        config, result = model.configs[0], dict[str, Any](status='not built', message=model.error)
    elif model.group:
        config, result = model.configs[0], dict[str, Any](status='apart', group=model.group)
    else:
        for config in model.configs[:_MAX_CONFIGS]:
            result = _check_apart(Path(config), cpu_seconds)
            if result.get('step') == 'features':
                # Some heads need larger images than the backbone.
                larger = _check_apart(Path(config), cpu_seconds, _LARGER_SIZE)
                result = larger if larger.get('step') == 'training' else result
            if result['status'] != 'not built':
                break
    return dict(
        package=model.package,
        combination=model.combination,
        config='/'.join(Path(config).parts[-2:]),
        num_configs=len(model.configs),
        date=datetime.date.today().isoformat(),
        **result,
    )


def _check_apart(path: Path, cpu_seconds: float, size: tuple[int, int] | None = None) -> dict[str, Any]:
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process, start = context.Process(target=_send_result, args=(path, size, sender, cpu_seconds)), time.monotonic()
    process.start()
    sender.close()
    try:
        if receiver.poll(_WAITING * cpu_seconds + 1):
            result: dict[str, Any] = receiver.recv()
        else:
            result = dict(status='over limit', message=f'ended after {_WAITING * cpu_seconds:g} s')
    except EOFError:
        process.join()
        is_slow = process.exitcode == -signal.SIGXCPU
        result = dict(
            status='over limit' if is_slow else 'fails',
            message=f'more than {cpu_seconds:g} s of CPU time'
            if is_slow
            else f'the process ended with exit code {process.exitcode}',
        )
    process.kill()
    process.join()
    return dict(result, seconds=round(time.monotonic() - start, 1))


def _send_result(path: Path, size: tuple[int, int] | None, sender: Any, cpu_seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (max(1, round(cpu_seconds)), resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, resource.RLIM_INFINITY))
    torch.set_num_threads(1)
    result = check_model(path, size)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu, memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9
    sender.send(dict(result, cpu_seconds=round(cpu, 1), gigabytes=round(memory, 1)))
