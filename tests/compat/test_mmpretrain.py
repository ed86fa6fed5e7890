import os
from pathlib import Path

import pytest

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
