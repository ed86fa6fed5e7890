"""No import of lckd_mm at the top of this file: without the patch it would fail."""

import importlib

import pytest
import torch

from ..helpers.processes import run_with_compat


def test_mmrazor_is_imported_with_lckd_mm() -> None:
    importlib.import_module('lckd_mm')
    models = importlib.import_module('mmrazor.models')
    assert hasattr(models, 'ConfigurableDistiller')


@pytest.mark.training
def test_mmrazor_cannot_be_imported_without_the_patch() -> None:
    done = run_with_compat('compat.PATCHES["torchvision_import"].apply()\nimport mmrazor.models')
    assert done.returncode != 0
    assert 'mmrazor' in done.stderr
    # In the stack onedl, mmrazor asserts that mmcv is older.
    assert any(error in done.stderr for error in ('ImportError', 'AttributeError', 'AssertionError'))


@pytest.mark.training
def test_only_mmrazor_is_imported_while_torch_reports_version_1_12() -> None:
    done = run_with_compat("""
import contextlib, torch
actual, reported = torch.__version__, compat.mmrazor._reported_version
@contextlib.contextmanager
def watched(module, version):
    before = set(sys.modules)
    with reported(module, version):
        yield
    if module is torch:
        print('new:', sorted({name.partition('.')[0] for name in set(sys.modules) - before}))
compat.mmrazor._reported_version = watched
for name in ('torchvision_import', 'mmcls_modules', 'mmrazor_import'):
    compat.PATCHES[name].apply()
assert torch.__version__ == actual
from mmrazor.utils import register_all_modules
before = set(sys.modules)
register_all_modules(False)
print('left:', [name for name in set(sys.modules) - before if name.startswith('mmrazor')])
""")
    assert done.returncode == 0, done.stderr
    # The modules of mmcls are views of those of mmpretrain.
    assert "new: ['mmcls', 'mmrazor']" in done.stdout
    assert 'left: []' in done.stdout


def test_torch_reports_its_version_again_after_an_error() -> None:
    mmrazor = importlib.import_module('lckd_mm.compat.mmrazor')
    actual = torch.__version__

    def fail_under(version: str) -> None:
        with mmrazor._reported_version(torch, version):
            assert torch.__version__ < (1, 13)
            raise KeyError

    with pytest.raises(KeyError):
        fail_under('1.12.0')
    assert torch.__version__ is actual
