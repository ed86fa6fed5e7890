"""The decorator and the registry of patches."""

import runpy
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import checkpoint

from lckd_mm import compat
from lckd_mm.compat import DISABLE_VARIABLE, PATCHES, patch
from lckd_mm.errors import ConfigValueError

from ..helpers.processes import run_with_compat
from ..helpers.tools import ROOT

HEADER = dict(library='torch', versions='>=2', issue='none known', reason='nothing works', until='the next version')


class Library:
    """A class to be patched."""

    @staticmethod
    def static(x: int) -> int:
        """Return x."""
        return x

    def method(self, x: int) -> int:
        return x


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module with a fresh class `Library` and a dict; patches of it are removed from the registry afterwards."""
    module = ModuleType('patched_library')
    module.Library = type('Library', (), dict(vars(Library)))
    module.table = dict(a=1)
    monkeypatch.setitem(sys.modules, 'patched_library', module)
    before = dict(PATCHES)
    yield module
    PATCHES.clear()
    PATCHES.update(before)


def add_one(original: Callable[..., int]) -> Callable[..., int]:
    return lambda *args: original(*args) + 1


def test_patches_can_be_applied_again() -> None:
    before = (MessageHub.load_state_dict, checkpoint.torch, torch.__version__)
    compat.apply()
    assert (MessageHub.load_state_dict, checkpoint.torch, torch.__version__) == before


def test_every_patch_has_a_complete_header_and_is_in_the_table() -> None:
    for name, registered in PATCHES.items():
        header = (registered.library, registered.scope, registered.issue, registered.reason, registered.until)
        assert all(header), name
        assert '#' in registered.issue or registered.issue.startswith('none known'), name
        for text in (name, *header):
            assert text in compat.table()


def test_the_table_of_the_documentation_is_current() -> None:
    table = runpy.run_path(str(ROOT / 'tools' / 'dev' / 'list_patches.py'))['make_table']()
    assert table in (ROOT / 'docs' / 'patches.md').read_text()


@pytest.mark.parametrize(
    ('installed', 'onedl', 'is_applied'),
    [
        ({'mmcv': '2.1.0'}, None, True),
        ({'mmcv': '2.2.0'}, None, False),
        ({'onedl-mmcv': '2.3.6'}, None, False),
        ({'onedl-mmcv': '2.3.6'}, '>=2.3,<3', True),
        ({'onedl-mmcv': '2.3.6'}, '', False),
        ({}, '>=2.3,<3', False),
    ],
)
def test_a_patch_is_for_the_versions_of_its_stacks(
    installed: dict, onedl: str | None, is_applied: bool, library: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('lckd_mm.compat.patching.find_version', installed.get)
    monkeypatch.setattr('lckd_mm.dependencies.find_version', installed.get)
    header = dict(HEADER, library='mmcv', versions='>=2.0.0,<=2.1.0', onedl=onedl)
    registered = patch('patched_library:Library', 'static', **header)(add_one)
    registered.apply()
    assert registered.is_applied is is_applied


def test_a_method_and_a_static_method_are_replaced_once(library: ModuleType) -> None:
    add = patch('patched_library:Library', ('static', 'method'), **HEADER)(add_one)
    for _ in range(2):
        add.apply()
        assert library.Library.static(1) == library.Library().static(1) == library.Library().method(1) == 2
    assert library.Library.static.__doc__ == 'Return x.'
    assert add.originals[0](1) == 1


def test_an_item_of_a_mapping_and_a_missing_attribute_are_set(library: ModuleType) -> None:
    @patch('patched_library:table', ('a', 'b'), **HEADER)
    def items(original: Any) -> Any:
        return (original, 'new')

    @patch('patched_library:Library', 'missing', **HEADER)
    def attribute(_: Any) -> None:
        return None

    items.apply()
    attribute.apply()
    assert library.table == dict(a=(1, 'new'), b=(None, 'new'))
    assert library.Library.missing is None


@pytest.mark.parametrize(
    'change', [dict(versions='<2'), dict(library='no-such-library'), dict(is_needed=lambda: False)]
)
def test_a_patch_that_is_not_needed_is_not_applied(library: ModuleType, change: dict) -> None:
    add = patch('patched_library:Library', 'static', **{**HEADER, **change})(add_one)
    add.apply()
    assert library.Library.static(1) == 1
    assert not add.is_applied


def test_patches_can_be_disabled_by_name(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    add = patch('patched_library:Library', 'static', **HEADER)(add_one)
    monkeypatch.setenv(DISABLE_VARIABLE, 'mmrazor_import, add_one')
    compat.check_disabled_names()
    add.apply()
    assert library.Library.static(1) == 1


def test_an_unknown_name_of_a_disabled_patch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DISABLE_VARIABLE, 'mmrazor_imports')
    with pytest.raises(ConfigValueError, match="'mmrazor_imports' is unknown; did you mean 'mmrazor_import'"):
        compat.apply()


def test_two_patches_of_one_name_are_refused(library: ModuleType) -> None:
    patch('patched_library:Library', 'static', **HEADER)(add_one)
    with pytest.raises(AssertionError, match='two patches'):
        patch('patched_library:Library', 'method', **HEADER)(add_one)


def test_compat_is_imported_without_the_patched_libraries() -> None:
    """The set-up checks mmcv's operators when little else is installed."""
    libraries = {'mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmrazor', 'mmseg', 'torchvision'}
    done = run_with_compat(f'assert not {libraries} & set(sys.modules), sys.modules')
    assert done.returncode == 0, done.stderr
