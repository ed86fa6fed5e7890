"""Names that the installed numpy does not have, in the code of the OpenMMLab packages."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

PACKAGES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'mmrazor', 'pycocotools')

# Where the name is patched, or why no training, evaluation or test reaches it.
EXPECTED = {
    'mmpretrain/evaluation/metrics/retrieval.py np.in1d': 'patch mmpretrain_retrieval',
    'mmdet/evaluation/functional/ytviseval.py np.float': 'patch mmdet_youtube_vis',
    'mmdet/evaluation/metrics/flickr30k_metric.py np.boxes': 'patch mmdet_flickr30k_boxes',
    'mmdet/evaluation/metrics/cityscapes_metric.py np.in1d': 'the stack onedl defines the name itself',
    'mmcv/ops/pixel_group.py np.float': 'only with parrots instead of torch',
    'mmrazor/models/task_modules/predictor/metric_predictor.py np.int': 'only in an architecture search',
}


def missing_names(path: Path) -> Iterator[str]:
    """Yield the names of numpy that a file uses and numpy lacks; those in comments and docstrings do not count."""
    text = path.read_text(encoding='utf-8', errors='replace')
    names = set(re.findall(r'(?<![\w.])(?:np|numpy)\.([A-Za-z]\w*)', text))
    if all(map(_exists, names)):
        return
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(value=ast.Name(id='np' | 'numpy'), attr=name) if not _exists(name):
                yield name


def _exists(name: str) -> bool:
    return hasattr(np, name) or importlib.util.find_spec(f'numpy.{name}') is not None


def test_names_that_numpy_lacks_are_patched_or_unreachable() -> None:
    found = set()
    for package in PACKAGES:
        root = Path(importlib.util.find_spec(package).submodule_search_locations[0])
        # Configs and tools are installed as `.mim`.
        for path in root.rglob('*.py'):
            if '.mim' not in path.parts:
                found |= {f'{path.relative_to(root.parent).as_posix()} np.{name}' for name in missing_names(path)}
    # Another version of the packages may have fewer.
    assert found <= set(EXPECTED)
