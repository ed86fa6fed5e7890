import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from lckd_mm.errors import ConfigValueError, unknown_name

# Options of hooks and schedulers that name a metric: CheckpointHook, EarlyStoppingHook, ReduceOnPlateauLR.
_OPTIONS = ('save_best', 'monitor')
# The result of a metric that cannot be computed.
_FAILED = 'failed'


@HOOKS.register_module()
class MetricCheckHook(Hook):
    """Reject the name of a metric that the evaluation does not produce, before the training.

    The names are those of an evaluation of one image, which the hook makes only if another hook or a scheduler names a metric. Random
    numbers and the state of the training do not change. If one image cannot be evaluated by each metric, nothing is checked.

    Without this hook, a wrong ``save_best`` ends the training after its first evaluation, and a wrong ``monitor`` has no effect.

    Raises:
        ConfigValueError: A metric is unknown; lists the names that the evaluation produces.

    Example:
        >>> default_hooks = dict(metric_check=dict(type='mmrazor.MetricCheckHook'))
    """

    # The last, since hooks prepare the evaluation.
    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Compare the names with those of an evaluation.

        Args:
            runner (Runner): The runner of the training.

        Raises:
            ConfigValueError: A metric is unknown.
        """
        names = _named_metrics(runner)
        if not names or runner.val_loop is None:
            return
        metrics = _metrics_of_one_image(runner)
        # Without a detection in the image, CocoMetric produces nothing.
        silent = {metric.prefix for metric in runner.val_loop.evaluator.metrics} - set(map(_prefix, metrics))
        for owner, name in names:
            if metrics and name not in metrics and _prefix(name) not in silent:
                raise ConfigValueError(unknown_name(owner, name, metrics))


def _prefix(name: str) -> str | None:
    """Return the part of the name of a metric that its class determines, None if there is none."""
    return name.rpartition('/')[0] or None


def _named_metrics(runner: Runner) -> list[tuple[str, str]]:
    schedulers = runner.param_schedulers or []
    lists = schedulers.values() if isinstance(schedulers, Mapping) else [schedulers]
    named = []
    for owner in [*runner.hooks, *(scheduler for each in lists for scheduler in each)]:
        for option in _OPTIONS:
            value = getattr(owner, option, None)
            for name in [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ():
                if isinstance(name, str) and name != 'auto':
                    named.append((f'{type(owner).__name__}: {option}', name))
    return named


@torch.no_grad()
def _metrics_of_one_image(runner: Runner) -> dict[str, Any]:
    loader: Any = runner.val_loop.dataloader
    evaluator: Any = runner.val_loop.evaluator
    is_training = runner.model.training
    try:
        with _same_random_numbers(), _without_errors(evaluator.metrics):
            runner.model.eval()
            batch = loader.collate_fn([loader.dataset[0]])
            outputs = runner.model.val_step(batch)
            evaluator.process(data_samples=outputs, data_batch=batch)
            metrics = dict(evaluator.evaluate(1))
            return {} if _FAILED in {name.rpartition('/')[2] for name in metrics} else metrics
    except Exception:
        # The evaluation itself reports its errors; one image may lack what a metric needs.
        return {}
    finally:
        for metric in evaluator.metrics:
            metric.results.clear()
        runner.model.train(is_training)


@contextmanager
def _without_errors(metrics: Iterable[Any]) -> Iterator[None]:
    """Let metrics that cannot be computed yield :data:`_FAILED`.

    Only the main process computes them, and then sends them to the others, which would wait for it without end.
    """

    def guarded(compute: Callable[[list], dict]) -> Callable[[list], dict]:
        def compute_metrics(results: list) -> dict:
            try:
                return compute(results)
            except Exception:
                return {_FAILED: 0.0}

        return compute_metrics

    metrics = list(metrics)
    for metric in metrics:
        metric.compute_metrics = guarded(metric.compute_metrics)
    try:
        yield
    finally:
        for metric in metrics:
            # The method of the class is visible again.
            del metric.compute_metrics


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])
