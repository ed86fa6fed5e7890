import pytest

from ..helpers.processes import run_with_compat

# On machines where the compiled operators load, too.
WITHOUT_OPERATORS = """
import torch
def load_library(path):
    raise OSError('no operators')
torch.ops.load_library = load_library
"""


def test_torchvision_without_its_operators_cannot_be_imported() -> None:
    done = run_with_compat(WITHOUT_OPERATORS + 'import torchvision')
    assert 'operator torchvision::nms does not exist' in done.stderr


@pytest.mark.parametrize('times', [1, 2])
def test_torchvision_without_its_operators_is_imported_with_the_patch(times: int) -> None:
    apply = 'compat.PATCHES["torchvision_import"].apply()\n' * times
    done = run_with_compat(WITHOUT_OPERATORS + apply + 'import torchvision.models\nprint("imported")')
    assert 'imported' in done.stdout, done.stderr


def test_other_errors_of_torchvision_are_not_hidden() -> None:
    code = """
import builtins
actual = builtins.__import__
def fail(name, *args):
    if name == 'torchvision':
        raise RuntimeError('another error')
    return actual(name, *args)
builtins.__import__ = fail
compat.PATCHES['torchvision_import'].apply()
"""
    assert 'another error' in run_with_compat(code).stderr
