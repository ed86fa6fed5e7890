"""Configs that inherit from lckd_mm by name."""

import os
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import get_config
from mmengine.utils import get_installed_path

import lckd_mm
from lckd_mm.dependencies import current_stack

from ..helpers.processes import run_python

ROOT = Path(lckd_mm.__file__).parents[1]


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """A config that inherits a config of lckd_mm."""
    base = min((ROOT / 'configs').glob('*/*.py')).relative_to(ROOT / 'configs')
    path = tmp_path / 'child.py'
    path.write_text(f"_base_ = 'lckd_mm::{base.as_posix()}'\nmark = 1\n")
    return path


def test_a_config_inherits_from_lckd_mm_by_name(child: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.fromfile(child).mark == 1
    monkeypatch.delitem(MODULE2PACKAGE, 'lckd_mm')
    with pytest.raises(AssertionError, match='does not support to load lckd_mm'):
        Config.fromfile(child)


@pytest.mark.parametrize('default_scope', ['mmseg', None])
def test_inherited_dicts_have_the_default_scope_of_their_config(
    default_scope: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'package'
    (folder / '.mim' / 'configs' / 'any').mkdir(parents=True)
    (folder / '.mim' / 'model-index.yml').write_text('Import: []\n')
    text = "data = dict(dataset=dict(type='A', pipeline=[dict(type='B')]), sampler=dict(type='C', _scope_='mmdet'))\n"
    if default_scope is not None:
        text += f'default_scope = {default_scope!r}\n'
    (folder / '.mim' / 'configs' / 'any' / 'base.py').write_text(text)
    monkeypatch.setattr('mmengine.config.config.get_installed_path', lambda _: str(folder))
    child = tmp_path / 'child.py'
    # The scope of a project that inherits does not matter.
    child.write_text("_base_ = 'lckd_mm::any/base.py'\ndefault_scope = 'mine'\nuser = dict(data=_base_.data)\n")
    cfg = Config.fromfile(child)
    scope = {} if default_scope is None else {'_scope_': default_scope}
    expected = dict(dataset=dict(type='A', pipeline=[dict(type='B')], **scope), sampler=dict(type='C', _scope_='mmdet'))
    assert cfg.data == cfg.user.data == expected


def _write_bases(folder: Path, **values: str) -> str:
    for name, value in values.items():
        (folder / f'{name}.py').write_text(f'{name} = 1\ncustom_imports = {value}\n')
    return f'_base_ = {[f"{name}.py" for name in values]}\n'


def test_custom_imports_of_all_bases_are_joined(tmp_path: Path) -> None:
    _write_bases(
        tmp_path, first="dict(imports=['math', 'json'], allow_failed_imports=False)", second="dict(imports='csv')"
    )
    (tmp_path / 'both.py').write_text("_base_ = ['first.py', 'second.py']\n")
    _write_bases(tmp_path, third="dict(imports=['json', 'no_such_module'], allow_failed_imports=True)", none='None')
    child = tmp_path / 'child.py'
    child.write_text("_base_ = ['both.py', 'third.py', 'none.py']\n")
    with pytest.warns(UserWarning, match='no_such_module'):
        cfg = Config.fromfile(child)
    imports = ['math', 'json', 'csv', 'no_such_module']
    assert cfg.custom_imports == dict(imports=imports, allow_failed_imports=True)
    assert cfg.first == cfg.second == cfg.third == cfg.none == 1


def test_custom_imports_of_a_config_replace_those_of_its_bases(tmp_path: Path) -> None:
    bases = _write_bases(tmp_path, first="dict(imports=['math'])", second="dict(imports=['csv'])")
    for text, expected in (
        ("dict(imports=['json'], allow_failed_imports=True)", dict(imports=['json'], allow_failed_imports=True)),
        ('None', None),
    ):
        (tmp_path / 'child.py').write_text(f'{bases}custom_imports = {text}\n')
        assert Config.fromfile(tmp_path / 'child.py').get('custom_imports') == expected


def test_other_keys_that_two_bases_define_are_an_error(tmp_path: Path) -> None:
    for name in 'ab':
        (tmp_path / f'{name}.py').write_text("value = 1\ncustom_imports = dict(imports=['math'])\n")
    (tmp_path / 'child.py').write_text("_base_ = ['a.py', 'b.py']\n")
    with pytest.raises(KeyError, match=r"Duplicate keys: \{'value'\}"):
        Config.fromfile(tmp_path / 'child.py')
    # An error leaves nothing behind for the next file.
    assert Config.fromfile(tmp_path / 'a.py').custom_imports == dict(imports=['math'])


def test_a_student_with_custom_imports_inherits_a_block(tmp_path: Path) -> None:
    bases = [
        'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        'lckd_mm::_base_/distillers/lckd_detection.py',
    ]
    (tmp_path / 'child.py').write_text(f'_base_ = {bases}\n')
    assert Config.fromfile(tmp_path / 'child.py').custom_imports.imports == ['mmpretrain.models', 'lckd_mm']


def test_the_installed_path_is_the_folder_of_the_imported_package() -> None:
    assert get_installed_path('lckd_mm') == os.path.dirname(lckd_mm.__file__)
    assert os.path.basename(get_installed_path('mmdet')) == 'mmdet'


def test_reading_a_config_prints_no_warning_about_pkg_resources(child: Path) -> None:
    code = f'import lckd_mm\nfrom mmengine import Config\nprint(Config.fromfile({str(child)!r}).mark)'
    done = run_python('-c', code, PYTHONPATH=str(ROOT))
    assert done.stdout.endswith('1\n'), done.stderr
    assert 'pkg_resources is deprecated' not in done.stderr


@pytest.mark.skipif(current_stack() != 'onedl', reason='the patch is for the stack onedl')
def test_configs_of_mmseg_are_found_in_the_fork_and_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*command: str) -> None:
        raise AssertionError(command)

    monkeypatch.setattr('mmengine.utils.package_utils.call_command', fail)
    assert get_config('mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py').model.type == 'EncoderDecoder'


@pytest.mark.parametrize('quote', ["'", '"'])
def test_names_of_folders_are_inserted_as_text(quote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / f"a {quote}.__class__(open('executed', 'w')) or {quote} ü"
    folder.mkdir()
    (folder / 'mine.py').write_text(
        f'work_dir = {quote}{{{{ fileDirname }}}}/runs/{{{{ fileBasenameNoExtension }}}}{quote}\n'
    )
    assert Config.fromfile(folder / 'mine.py').work_dir == f'{folder}/runs/mine'
    assert not (tmp_path / 'executed').exists()
