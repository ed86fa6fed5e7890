import os
from pathlib import Path

import pytest
import torch
from mmpretrain.registry import METRICS

import lckd_mm
from tests.helpers.processes import run_python

SCRIPT = """
import lckd_mm
import mmdet.models
from mmpretrain.registry import MODELS
assert MODELS.get('ImageClassifier').__name__ == 'ImageClassifier'
try:
    MODELS.build(dict(type='BlipCaption'))
except ImportError as error:
    assert 'multi-modal dependencies' in str(error)
else:
    raise AssertionError
"""

# Of the first image, the first and the third result are relevant; of the second image, only the third.
SAMPLES = [
    dict(pred_score=torch.tensor([0.9, 0.5, 0.7]), gt_label=torch.tensor([0, 1])),
    dict(pred_score=torch.tensor([0.9, 0.5, 0.7]), gt_label=torch.tensor([1])),
]
RANKED = [[0, 2, 1], [0, 2, 1]]
RELEVANT = [[0, 1], [1]]


@pytest.mark.parametrize('has_modules', [True, False])
def test_a_current_transformers_does_not_prevent_the_import(tmp_path: Path, has_modules: bool) -> None:
    # A stand-in for transformers 5: the version, and none of the names that mmpretrain imports.
    package, metadata = tmp_path / 'transformers', tmp_path / 'transformers-5.24.0.dist-info'
    package.mkdir()
    metadata.mkdir()
    (package / '__init__.py').touch()
    if has_modules:
        (package / 'modeling_utils.py').write_text('class PreTrainedModel:\n    pass\n')
    (metadata / 'METADATA').write_text('Metadata-Version: 2.1\nName: transformers\nVersion: 5.24.0\n')
    root = Path(lckd_mm.__file__).parents[1]
    done = run_python('-W', 'ignore', '-c', SCRIPT, PYTHONPATH=os.pathsep.join([str(tmp_path), str(root)]))
    assert done.returncode == 0, done.stderr


def test_recall_of_a_retrieval() -> None:
    recall = METRICS.build(dict(type='mmpretrain.RetrievalRecall', topk=(1, 3)))
    recall.process({}, SAMPLES)
    assert recall.evaluate(2) == {'retrieval/Recall@1': 50.0, 'retrieval/Recall@3': 100.0}
    assert [value.item() for value in type(recall).calculate(RANKED, RELEVANT, 1, 'index', 'index')] == [50.0]


def test_average_precision_of_a_retrieval() -> None:
    metric = METRICS.build(dict(type='mmpretrain.RetrievalAveragePrecision', topk=3))
    metric.process({}, SAMPLES)
    (value,) = metric.evaluate(2).values()
    # Precision at each relevant rank: (1/1 + 2/3) / 2 for the first image, 1/3 for the second.
    assert value == pytest.approx(100 * ((1 + 2 / 3) / 2 + 1 / 3) / 2)
