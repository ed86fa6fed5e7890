"""What a model is known to reach without distillation: from an earlier training, or from the metafile of its package."""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import yaml

from .logs import read_scalars

# Names in the metafiles of mmdet, mmseg and mmpretrain, and the factor to the unit of the evaluation.
_PUBLISHED = {
    'coco/bbox_mAP': ('box AP', 0.01),
    'coco/segm_mAP': ('mask AP', 0.01),
    'mIoU': ('mIoU', 1.0),
    'accuracy/top1': ('Top 1 Accuracy', 1.0),
}


class KnownMetric(NamedTuple):
    """A value of a metric, and where it comes from.

    Attributes:
        value: The value, in the unit of the evaluation.
        source: Its source, in words.
    """

    value: float
    source: str


def find_known_metric(config: str, metric: str, is_changed: bool = False) -> KnownMetric | None:
    """Look for the metric of a model that was trained alone.

    Args:
        config (str): Its config, a path or ``'package::path'``.
        metric (str): Name of the metric.
        is_changed (bool): Whether the config has overrides, so that published figures do not apply. Defaults to False.

    Returns:
        KnownMetric, optional: The last value in ``work_dirs/<name of the config>``, or else the published one; None if neither is known.
    """
    stem = Path(config.rpartition('::')[2]).stem
    work_dir = Path('work_dirs') / stem
    values = {step: reading[metric] for step, reading in read_scalars(work_dir).val.items() if metric in reading}
    if values:
        return KnownMetric(float(values[max(values)]), f'training in {work_dir}')
    if is_changed or '::' not in config or metric not in _PUBLISHED:
        return None
    name, factor = _PUBLISHED[metric]
    value = published_metric(config, name)
    return None if value is None else KnownMetric(value * factor, f'published, {config.partition("::")[0]}')


def published_metric(config: str, name: str) -> float | None:
    """Read a metric of a config from the metafiles of its package.

    Args:
        config (str): ``'package::path'``.
        name (str): Name of the metric in the metafile.

    Returns:
        float, optional: The value; None if no metafile has it.

    Example:
        >>> published_metric('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', 'box AP')
        31.7
        >>> published_metric('mmdet::unknown.py', 'box AP') is None
        True
    """
    package, _, path = config.partition('::')
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent / '.mim'
    folder = (root / 'configs' / path).parent
    for file in sorted(folder.glob('metafile.y*ml')):
        content = yaml.safe_load(file.read_text())
        models = content.get('Models') or [] if isinstance(content, dict) else content or []
        for model in models:
            if not isinstance(model, dict) or Path(str(model.get('Config'))) != Path('configs') / path:
                continue
            results = model.get('Results') or []
            for result in [results] if isinstance(results, dict) else results:
                value = (result.get('Metrics') or {}).get(name)
                if isinstance(value, (int, float)):
                    return float(value)
    return None
