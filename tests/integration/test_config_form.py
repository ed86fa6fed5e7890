"""Names, length and form of the configs."""

import ast
import functools
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmrazor import registry as registry

from tests.helpers.tools import ROOT

FOLDER = ROOT / 'configs'
FILES = sorted(FOLDER.rglob('*.py'))
CONFIGS = [path for path in FILES if '_base_' not in path.parts]
FLAGSHIP = FOLDER / 'voc' / 'lckd_faster_rcnn.py'
# The longest prefix of a name is its method.
METHODS = (
    'lckd', 'lipschitz', 'lipschitz_balanced', 'lipschitz_balanced_cwd', 'lipschitz_balanced_dist', 'lipschitz_balanced_fpn',
    'lipschitz_fpn', 'lipschitz_ofd', 'lipschitz_ofd_balanced',
    'published', 'ofd', 'cwd',
)  # fmt: skip
DATA = dict(
    bccd=('bccd',), camvid=('camvid',), cifar10=('cifar10',), cifar100=('cifar100',), cityscapes=('cityscapes',),
    coco=('coco',), demo=('digits',), imagenet=('in1k',), voc=('voc0712', 'voc12aug'),
)  # fmt: skip
# Lines that the documented form of a distillation config prescribes.
FORM = (
    'model = dict(',
    '_base_.distillation,',
    '_delete_=True,',
    'architecture=_base_.model,',
    'distiller=dict(',
    '_base_.distillation.distiller,',
    '**_base_.distillation,',
    'default_hooks = _base_.distillation_hooks',
)


@functools.cache
def _load(path: Path) -> Config:
    return Config.fromfile(path)


def _without_data(path: Path) -> str | None:
    """Return the name without its data set, or None if it does not end in one of the folder's data sets."""
    for data in DATA[path.parent.name]:
        if path.stem.endswith(f'_{data}'):
            return path.stem.removesuffix(f'_{data}')
    return None


def _split(path: Path) -> tuple[str | None, str]:
    """Return the method (None for a student or teacher) and the models of a name."""
    models = _without_data(path) or ''
    methods = [method for method in METHODS if models.startswith(f'{method}_')]
    method = max(methods, key=len, default=None)
    return method, models.removeprefix(f'{method}_') if method else models


DISTILLATIONS = [path for path in CONFIGS if path == FLAGSHIP or _split(path)[0]]


def _id(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()[:-3]


def _plain(value: object) -> object:
    """Return a config without ``_scope_``."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != '_scope_'}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _bases(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_':
            bases = ast.literal_eval(node.value)
            return [bases] if isinstance(bases, str) else bases
    return []


@pytest.mark.parametrize('path', FILES, ids=_id)
def test_config_begins_with_its_description_and_has_at_most_40_lines(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith('# ')
    assert len(lines) <= 40, 'move the shared part to a base'


def test_no_two_configs_repeat_more_than_six_lines() -> None:
    windows: dict[tuple[str, ...], Path] = {}
    for path in FILES:
        lines = [line.strip() for line in path.read_text().splitlines()]
        # Lines of brackets are not counted either.
        lines = [line for line in lines if line not in FORM and line.strip('[](){},')]
        for window in {tuple(lines[i : i + 7]) for i in range(len(lines) - 6)}:
            first = windows.setdefault(window, path)
            assert first == path, f'{_id(path)} and {_id(first)} repeat {window}: move these lines to a base'


def test_hooks_of_the_blocks_are_defined_once() -> None:
    for hook in ('LipschitzMonitorHook', 'ClassCountHook', 'AnnotationCheckHook'):
        assert [path.stem for path in FILES if hook in path.read_text()] == ['lipschitz']


def test_inherited_values_are_not_changed_in_place() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                assert all(isinstance(target, (ast.Name, ast.Tuple)) for target in targets), path
            assert not isinstance(node, (ast.Import, ast.ImportFrom, ast.Delete)), path
            assert not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)), path


@pytest.mark.parametrize('path', CONFIGS, ids=_id)
def test_name_states_method_and_models_and_data(path: Path) -> None:
    assert ('teacher' in _load(path).model) == (path in DISTILLATIONS)
    if path == FLAGSHIP:
        return
    method, models = _split(path)
    assert models
    if method is None:
        return
    teacher = _load(path).model.teacher.cfg_path
    if teacher.startswith('lckd_mm::'):
        # The student follows; an architecture that both have stands once.
        assert models.startswith(f'{_without_data(FOLDER / teacher.removeprefix("lckd_mm::"))}_')


@pytest.mark.parametrize('path', DISTILLATIONS, ids=_id)
def test_name_states_the_losses(path: Path) -> None:
    cfg = _load(path)
    losses, hooks = cfg.model.distiller.losses, cfg.default_hooks
    method = 'lckd' if path == FLAGSHIP else _split(path)[0]
    if method == 'lckd':
        task = dict(mmdet='detection', mmseg='segmentation', mmpretrain='classification')[cfg.default_scope]
        block = _load(FOLDER / '_base_' / 'distillers' / f'lckd_{task}.py')
        assert _plain(losses) == _plain(block.distillation.distiller.losses)
        assert _plain(block.distillation_hooks).items() <= _plain(hooks).items()
        return
    expected = {'lipschitz', 'ofd'} if method == 'published' else set(method.split('_')) - {'balanced', 'fpn'}
    assert {name for name, loss in losses.items() if loss.get('loss_weight', 1.0)} == expected
    assert (hooks.get('lipschitz_balance') is not None) == ('balanced' in method)
    assert (losses.lipschitz.get('method') == 'power') == (method == 'published')
    taps = cfg.model.distiller.taps
    assert all(isinstance(tap, dict) and tap.source == 'neck' for tap in taps) == ('fpn' in method)


@pytest.mark.parametrize('path', DISTILLATIONS, ids=_id)
def test_teacher_checkpoint_is_the_last_of_the_teachers_config(path: Path) -> None:
    model = _load(path).model
    if model.teacher_ckpt.startswith('https://'):
        return
    teacher = get_config(model.teacher.cfg_path)
    assert model.teacher_ckpt == f'work_dirs/{Path(teacher.filename).stem}/epoch_{teacher.train_cfg.max_epochs}.pth'


@pytest.mark.parametrize('path', DISTILLATIONS, ids=_id)
def test_student_is_the_model_of_the_inherited_config(path: Path) -> None:
    bases = _bases(path)
    # A config with one base changes a distillation config.
    if len(bases) == 1:
        assert (path.parent / bases[0]).resolve() in DISTILLATIONS
        return
    student, block = bases
    student = get_config(student) if '::' in student else _load(path.parent / student)
    cfg = _load(path)
    assert _plain(cfg.model.architecture) == _plain(student.model)
    assert 'distillation_hooks' in _load(path.parent / block)
    recipe = set(student) - {'model', 'default_hooks', 'data_help'}
    changed = {key for key in recipe if _plain(cfg[key]) != _plain(student[key])}
    # Settings (c) to (f) of the paper train a student with a schedule of their own.
    assert changed <= {'param_scheduler', 'train_dataloader', 'auto_scale_lr'}
    assert not changed or path.parent.name == 'cifar100'
    assert _plain(student.default_hooks).items() <= _plain(cfg.default_hooks).items()


def _types(value: object) -> set[str]:
    """Return all values of ``type`` in a config."""
    if isinstance(value, dict):
        types = {value['type']} if isinstance(value.get('type'), str) else set()
        return types.union(*map(_types, value.values()))
    return set().union(*map(_types, value)) if isinstance(value, (list, tuple)) else set()


@pytest.mark.parametrize('path', CONFIGS, ids=_id)
def test_a_script_that_reads_the_file_finds_the_components_of_lckd_mm(path: Path) -> None:
    cfg = _load(path)
    if path in DISTILLATIONS:
        assert cfg.custom_imports == dict(imports=['lckd_mm'], allow_failed_imports=False)
        return
    # A student inherits no block; `custom_imports` of its own could not stand in a base beside that of a block.
    assert 'custom_imports' not in cfg
    registries = [registry.MODELS, registry.HOOKS, registry.DATASETS]
    for name in _types(cfg.to_dict()):
        scope, _, short = name.rpartition('.')
        modules = {r.module_dict[short].__module__ for r in registries if scope == 'mmrazor' and short in r.module_dict}
        assert not any(module.startswith('lckd_mm') for module in modules), f'write the full name of {name}'


@pytest.mark.parametrize('path', CONFIGS, ids=_id)
def test_loaders_without_workers_suit_the_defaults_of_the_training_scripts(path: Path) -> None:
    cfg = _load(path)
    # tools/train.py of mmpretrain sets persistent_workers=True where it is missing.
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        is_persistent = loader.get('persistent_workers', cfg.default_scope == 'mmpretrain')
        assert loader.num_workers > 0 or not is_persistent


def test_names_of_configs_are_unique_so_that_mim_finds_them() -> None:
    names = [path.name for path in CONFIGS]
    assert len(set(names)) == len(names)
