"""The metric of a teacher on the validation data of its student."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import EVALUATOR, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Subset

from lckd_mm.atomic_files import write_text
from lckd_mm.engine.class_counts import class_heads
from lckd_mm.models.utils import build_model
from lckd_mm.models.utils.teacher import load_teacher

from .comparison_settings import config_fingerprint, file_digest

# Words in the names of the metrics that OpenMMLab's projects report first, in this order.
_FIRST = ('bbox_mAP', 'mIoU', 'accuracy/top1', 'f1-score', 'mAP', 'PQ', 'AP', 'top1')
# Batches from which the duration of an evaluation is estimated.
_TIMED_BATCHES = 3


class TeacherMetric(NamedTuple):
    """Metrics of a teacher.

    Attributes:
        metrics: Values by name.
        num_images: Number of evaluated images.
        num_all: Number of images in the validation data.
    """

    metrics: dict[str, float]
    num_images: int
    num_all: int


def evaluation_obstacle(student: BaseModel, teacher: BaseModel, cfg: Config) -> str:
    """Return why the validation data of a student say nothing about a teacher.

    Args:
        student (BaseModel): The student.
        teacher (BaseModel): The teacher.
        cfg (Config): The student's config.

    Returns:
        str: The reason; empty if there is none.
    """
    if not (cfg.get('val_dataloader') and cfg.get('val_evaluator')):
        return "the student's config has no validation data"
    counts = [sorted({head.num_classes for head in class_heads(model)}) for model in (student, teacher)]
    return '' if counts[0] == counts[1] else f'it has {_join(counts[1])} classes, and the student {_join(counts[0])}'


def _join(counts: list[int]) -> str:
    return ' and '.join(map(str, counts)) or 'no'


def evaluate_teacher(
    source: Mapping[str, Any],
    checkpoint: str,
    cfg: Config,
    max_seconds: float,
    progress: Callable[[int, int], None] | None = None,
) -> TeacherMetric:
    """Evaluate a teacher on the validation data of a student's config, or on an even part of them.

    The result is stored in the user's cache, by the content of the checkpoint, the model and the validation data of the config.

    Args:
        source (dict): The teacher's model, as in :func:`build_model`.
        checkpoint (str): Its checkpoint.
        cfg (Config): The student's config, with ``val_dataloader`` and ``val_evaluator``.
        max_seconds (float): If the evaluation of all images would take longer, an even part of them is evaluated.
        progress (Callable, optional): Receives the number of evaluated images and the number of images to evaluate. Defaults to None.

    Returns:
        TeacherMetric: The metrics.

    Raises:
        ConfigError: The checkpoint does not match the teacher.
    """
    path = _cache_path(source, checkpoint, cfg)
    if path is not None and path.is_file():
        stored = json.loads(path.read_text())
        if stored['num_images'] == stored['num_all'] or stored['max_seconds'] >= max_seconds:
            return TeacherMetric(stored['metrics'], stored['num_images'], stored['num_all'])
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        model = build_model(dict(source))
        load_teacher(model, checkpoint)
        model = revert_sync_batchnorm(model).to(get_device()).eval()
        result = _evaluate(model, cfg, max_seconds, progress or (lambda done, total: None))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(dict(result._asdict(), max_seconds=max_seconds)))
    return result


def _cache_path(source: Mapping[str, Any], checkpoint: str, cfg: Config) -> Path | None:
    digest = file_digest(Path(checkpoint).expanduser())
    if digest is None:
        # A file on the Internet may change.
        return None
    # Paths of data sets count here: another folder has other images.
    text = json.dumps([cfg.val_dataloader, cfg.val_evaluator], sort_keys=True, default=str)
    parts = [digest, config_fingerprint(dict(model=dict(source))), os.getcwd(), text]
    name = hashlib.sha256('\n'.join(parts).encode()).hexdigest()[:24]
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return cache / 'lckd_mm' / 'teacher_metrics' / f'{name}.json'


@torch.no_grad()
def _evaluate(model: BaseModel, cfg: Config, max_seconds: float, progress: Callable[[int, int], None]) -> TeacherMetric:
    loader = Runner.build_dataloader(dict(cfg.val_dataloader), seed=0)
    num_all, config = len(loader.dataset), cfg.val_evaluator
    size = _affordable(model, loader, num_all, max_seconds)
    if size < num_all:
        part = _Part(loader.dataset, [index * num_all // size for index in range(size)])
        loader = Runner.build_dataloader({**cfg.val_dataloader, 'dataset': part}, seed=0)
        config = _without_annotation_file(config)
    evaluator = _build_evaluator(config, loader.dataset)
    total, done = len(loader.dataset), 0
    for batch in loader:
        outputs = model.val_step(batch)
        evaluator.process(data_samples=outputs, data_batch=batch)
        done = min(done + len(outputs), total)
        progress(done, total)
    metrics = evaluator.evaluate(total)
    return TeacherMetric(
        {name: float(value) for name, value in metrics.items() if isinstance(value, (int, float)) or _is_scalar(value)},
        total,
        num_all,
    )


def _is_scalar(value: Any) -> bool:
    return getattr(value, 'size', None) == 1 or (isinstance(value, torch.Tensor) and value.numel() == 1)


class _Part(Subset[Any]):
    """A part of a data set, with its metainfo."""

    @property
    def metainfo(self) -> Any:
        return getattr(self.dataset, 'metainfo', None)


def _affordable(model: BaseModel, loader: Any, num_all: int, max_seconds: float) -> int:
    """Return how many images can be evaluated in the given time, as measured with a few batches."""
    start, count = 0.0, 0
    for index, batch in enumerate(loader):
        size = len(model.val_step(batch))
        if index == 0:
            # The first batch includes the start of the workers and of the kernels.
            start = time.monotonic()
            continue
        count += size
        if index == _TIMED_BATCHES:
            break
    if not count:
        return num_all
    return max(min(num_all, int(max_seconds * count / (time.monotonic() - start))), 1)


def _without_annotation_file(evaluator: Any) -> Any:
    """Return the config of an evaluator without annotation files, whose images would all count; the loaded annotations remain."""
    if isinstance(evaluator, (list, tuple)):
        return [_without_annotation_file(metric) for metric in evaluator]
    return {**evaluator, 'ann_file': None} if evaluator.get('ann_file') else evaluator


def _build_evaluator(config: Any, dataset: Any) -> Evaluator:
    is_complete = isinstance(config, Mapping) and 'metrics' in config
    evaluator = EVALUATOR.build({'type': 'Evaluator', **config}) if is_complete else Evaluator(config)
    evaluator.dataset_meta = getattr(dataset, 'metainfo', None)
    return evaluator


def main_metric(cfg: Config, metrics: Sequence[str]) -> str | None:
    """Return the name of the metric that a training is judged by.

    Args:
        cfg (Config): The config; ``save_best`` of its checkpoint hook has priority.
        metrics (Sequence[str]): The names that its evaluation yields.

    Returns:
        str, optional: The name; None if there is no metric.

    Example:
        >>> main_metric(Config(), ['coco/bbox_mAP_50', 'coco/bbox_mAP', 'coco/segm_mAP'])
        'coco/bbox_mAP'
        >>> main_metric(Config(dict(default_hooks=dict(checkpoint=dict(save_best='aAcc')))), ['aAcc', 'mIoU'])
        'aAcc'
    """
    names = list(metrics)
    wanted = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    for name in [wanted] if isinstance(wanted, str) else wanted or []:
        if name in names:
            return str(name)
    for word in _FIRST:
        for name in names:
            if name.endswith(word):
                return name
    return names[0] if names else None
