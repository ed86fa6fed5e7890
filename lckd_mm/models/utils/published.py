"""The published weights of a config, which ``pretrained=True`` beside ``cfg_path`` stands for."""

from typing import Any

from mmengine.hub import get_config
from mmengine.model import BaseModel

from lckd_mm.errors import ConfigValueError


def published_checkpoint(model: BaseModel | dict[str, Any]) -> str | None:
    """Return the URL of the published weights of a config, which its package lists in a metafile.

    Args:
        model (dict | BaseModel): As in :func:`build_model`.

    Returns:
        str | None: The URL; None without ``pretrained=True``.

    Raises:
        ConfigValueError: The package lists no weights for the config, or ``cfg_path`` is a file.

    Example:
        >>> published_checkpoint(dict(cfg_path='mmdet::ssd/ssd300_coco.py', pretrained=True))
        'https://download.openmmlab.com/mmdetection/v2.0/ssd/ssd300_coco/ssd300_coco_20210803_015428-d231a06e.pth'
        >>> published_checkpoint(dict(cfg_path='mmdet::ssd/ssd300_coco.py', pretrained=False)) is None
        True
    """
    if not isinstance(model, dict) or 'cfg_path' not in model or not model.get('pretrained'):
        return None
    path = model['cfg_path']
    url = None
    if '::' in path:
        try:
            url = get_config(path, pretrained=True).get('model_path')
        except AssertionError:
            # mmengine asserts that the metafile has weights.
            url = None
    if url is None:
        raise ConfigValueError(
            f'pretrained=True: no weights are published for cfg_path={path!r}; set pretrained=False, and teacher_ckpt for a teacher or '
            "init_cfg=dict(type='Pretrained', checkpoint=...) in the cfg_options of a student."
        )
    return str(url)
