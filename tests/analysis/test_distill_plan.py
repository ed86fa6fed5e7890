from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from lckd_mm.analysis import distill_plan
from lckd_mm.analysis.configs import load_config
from lckd_mm.analysis.distill_config import config_text, recipe_changes, render, write_config
from lckd_mm.analysis.distill_plan import Plan, Request, choose_losses, make_plan
from lckd_mm.analysis.tap_finder import Tap
from lckd_mm.analysis.tap_pairs import TapPairs
from lckd_mm.errors import ConfigValueError
from lckd_mm.models.utils import build_model
from lckd_mm.spectral import Grid
from tests.helpers.small_classifiers import TAPS, classifier, distillation_config
from tests.helpers.tiny_configs import write_config as write_tiny
from tests.helpers.tools import ROOT

PYRAMID, SCORES = ('neck', (8, 16)), ('head.fc', 'head.fc')


def _found(in_order: bool = False, pyramid: Any = None, logits: Any = None, maps: bool = False) -> TapPairs:
    return TapPairs(
        [], [], in_order, pyramid, logits, maps, '' if logits else 'the student has 3 classes and the teacher 80'
    )


def _found_taps(*pairs: tuple[tuple[int, ...], tuple[int, ...]]) -> TapPairs:
    """Pairs of taps of given shapes."""
    grid = Grid(4, 4)
    taps = [tuple(Tap(f'layers.{i}', None, 0, shape, 8, grid, '') for shape in pair) for i, pair in enumerate(pairs)]
    return _found()._replace(pairs=taps)


MAP, TOKENS, WITH_CLASS_TOKEN = (1, 8, 4, 4), (1, 16, 8), (1, 17, 8)


@pytest.mark.parametrize(
    ('name', 'teacher', 'is_possible'),
    [
        ('pkd', TOKENS, True),
        ('at', TOKENS, True),
        ('ofd', TOKENS, False),
        ('mgd', TOKENS, False),
        ('cwd', WITH_CLASS_TOKEN, False),
        ('fitnet', WITH_CLASS_TOKEN, False),
        ('lipschitz', WITH_CLASS_TOKEN, True),
        ('rkd', WITH_CLASS_TOKEN, True),
        ('ofd', MAP, True),
    ],
)
def test_a_loss_of_the_block_that_cannot_read_tokens_is_left_out(name: str, teacher: tuple, is_possible: bool) -> None:
    changes, notes = choose_losses(None, {name: {}}, _found_taps((MAP, MAP), (MAP, teacher)))
    assert changes == ({} if is_possible else {name: None})
    assert [f'The loss {name!r} is left out' in note and 'tokens' in note for note in notes] == [True] * (
        not is_possible
    )


@pytest.fixture
def student(tmp_path: Path) -> str:
    return str(write_tiny(tmp_path, classifier(), 'student.py'))


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    return str(write_tiny(tmp_path, classifier(depth=50), 'teacher.py'))


def _plan(student: str, teacher: str, **options: Any) -> Plan:
    return make_plan(Request(student, teacher, 'teacher.pth', **options))[0]


@pytest.mark.parametrize(
    ('name', 'found', 'options'),
    [
        ('pkd', _found(pyramid=PYRAMID), dict(taps=['neck'])),
        ('pkd', _found(pyramid=PYRAMID, in_order=True), dict(taps=['neck'])),
        ('pkd', _found(), {}),
        ('cwd', _found(in_order=True), {}),
        ('cwd', _found(logits=SCORES, maps=True, pyramid=PYRAMID), dict(taps='logits')),
        ('cwd', _found(logits=SCORES, pyramid=PYRAMID), dict(taps=['neck'], loss_weight=10.0)),
        ('ofd', _found(pyramid=PYRAMID), {}),
        ('kd', _found(logits=SCORES), {}),
        ('kd', _found(logits=SCORES, maps=True), {}),
    ],
)
def test_a_requested_loss_reads_where_it_can(name: str, found: TapPairs, options: dict) -> None:
    assert choose_losses([name], {}, found) == ({name: options}, [])


@pytest.mark.parametrize(
    ('name', 'found', 'reason'),
    [
        ('kd', _found(), 'kd is impossible: the student has 3 classes and the teacher 80'),
        ('dkd', _found(logits=SCORES, maps=True), 'the class scores are maps'),
        ('ofd', _found(in_order=True), 'different strides'),
        ('at', _found(in_order=True), 'equal size'),
        ('kdd', _found(), "'kdd' is unknown.*did you mean 'kd'"),
    ],
)
def test_an_impossible_loss_is_refused(name: str, found: TapPairs, reason: str) -> None:
    with pytest.raises(ConfigValueError, match=reason):
        choose_losses(['lipschitz', name], dict(lipschitz={}), found)


def test_named_taps_are_not_checked_for_their_strides() -> None:
    assert choose_losses(['ofd'], {}, _found(in_order=True), is_found=False) == ({'ofd': {}}, [])


def test_an_impossible_default_is_left_out_with_a_reason() -> None:
    defaults = dict(lipschitz={}, scores=dict(type='cwd', taps='logits'), kd={})
    changes, notes = choose_losses(None, defaults, _found(logits=SCORES))
    assert changes == {'scores': None}
    assert notes == ["The loss 'scores' is left out: the class scores are no maps."]
    assert choose_losses(None, defaults, _found(logits=SCORES, maps=True)) == ({}, [])
    assert set(choose_losses(None, defaults, _found())[0]) == {'scores', 'kd'}


def test_the_written_config_is_the_distillation(student: str, teacher: str, tmp_path: Path) -> None:
    options = {
        'model.head.topk': (1,),
        'train_cfg.max_epochs': 3,
        'train_dataloader.dataset.pipeline.0.to_float32': True,
        'randomness.seed': 5,
    }
    plan = _plan(student, teacher, student_options=options, losses=('lipschitz', 'kd', 'pkd'))
    path = tmp_path / 'out' / 'distilled.py'
    text = write_config(plan, path)
    cfg = load_config(str(path))
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=3)
    assert cfg.randomness == dict(seed=5)
    assert cfg.train_dataloader.dataset.pipeline == [
        dict(type='LoadImageFromFile', to_float32=True), dict(type='PackInputs')
    ]  # fmt: skip
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.model.architecture == dict(cfg_path=student, cfg_options={'head.topk': (1,)})
    assert cfg.model.teacher == dict(cfg_path=teacher)
    assert cfg.model.distiller.taps == TAPS
    assert set(cfg.model.distiller.losses) == {'lipschitz', 'kd', 'pkd'}
    assert cfg.default_hooks.lipschitz_monitor.type == 'mmrazor.LipschitzMonitorHook'
    assert len(text.splitlines()) < 30
    # The same command writes the same file; another one does not overwrite what a person may have changed.
    assert write_config(plan, path) == text
    path.write_text(f'{text}# tuned\n')
    with pytest.raises(ConfigValueError, match=r'another content.*lckd_mm train'):
        write_config(plan, path)
    assert path.read_text().endswith('# tuned\n')


def test_without_a_lipschitz_loss_its_hooks_are_removed(student: str, teacher: str, tmp_path: Path) -> None:
    plan = _plan(student, teacher, losses=('kd',))
    path = tmp_path / 'distilled.py'
    write_config(plan, path)
    cfg = load_config(str(path))
    assert cfg.model.distiller.losses.lipschitz is None
    assert cfg.default_hooks.lipschitz_monitor is None
    assert cfg.default_hooks.lipschitz_balance is None
    assert cfg.default_hooks.class_count is not None


def test_the_base_is_relative_where_both_files_are_in_the_working_directory(
    student: str, teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(student, teacher)
    assert f"'{student}'," in config_text(plan, tmp_path / 'work_dirs')
    monkeypatch.chdir(tmp_path)
    assert "_base_ = ['../student.py'," in config_text(_plan('student.py', 'teacher.py'), Path('work_dirs'))


def test_named_layers_are_taken(student: str, teacher: str) -> None:
    plan = _plan(student, teacher, taps=('backbone.layer1', 'backbone.layer2.0=backbone.layer3'))
    assert plan.student_taps == ['backbone.layer1', 'backbone.layer2.0']
    assert plan.teacher_taps == ['backbone.layer1', 'backbone.layer3']


def test_named_layers_need_no_others(student: str, teacher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(*_: Any) -> None:
        raise ConfigValueError('the student has 1 taps')

    monkeypatch.setattr(distill_plan, 'find_pairs', find_none)
    plan = _plan(student, teacher, taps=('backbone.layer1', 'backbone.layer2'), losses=('lipschitz', 'ofd'))
    assert plan.losses == {'pkd': None, 'ofd': {}}
    with pytest.raises(ConfigValueError, match='kd is impossible: no layers were found'):
        _plan(student, teacher, taps=('backbone.layer1', 'backbone.layer2'), losses=('kd',))
    with pytest.raises(ConfigValueError, match=r'^the student has 1 taps$'):
        _plan(student, teacher)


def test_a_distillation_is_no_student(student: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path, distillation_config(), 'distillation.py')
    with pytest.raises(ConfigValueError, match=r"student config '.*distillation.py' is that of a distillation"):
        _plan(str(path), student)


PURE_PYTHON = """
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead, ResNet

default_scope = 'mmpretrain'
model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet, depth=18, base_channels=4, stem_channels=4),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=3, in_channels=32),
)
train_cfg = dict(by_epoch=True, max_epochs=1)
"""


def test_a_student_in_pure_python_is_inherited_in_its_text_form(teacher: str, tmp_path: Path) -> None:
    student = tmp_path / 'pure.py'
    student.write_text(PURE_PYTHON)
    options = {'train_cfg.max_epochs': 7, 'model.head.num_classes': 3}
    write_config(_plan(str(student), teacher, student_options=options), tmp_path / 'distilled.py')
    cfg = load_config(str(tmp_path / 'distilled.py'))
    assert cfg.train_cfg.max_epochs == 7
    model = build_model(cfg.model.architecture)
    assert type(model).__name__ == 'ImageClassifier'
    assert model.head.num_classes == 3
    assert cfg.model.distiller.taps == TAPS


def test_the_documentation_contains_what_the_command_writes(tmp_path: Path) -> None:
    folder = 'mmdet::retinanet/retinanet'
    text = write_config(_plan(f'{folder}_r18_fpn_1x_coco.py', f'{folder}_r50_fpn_1x_coco.py'), tmp_path / 'mine.py')
    assert f'```python\n{text}```' in (ROOT / 'docs' / 'your_own_model.md').read_text()


def test_the_block_is_that_of_the_package(student: str, teacher: str) -> None:
    assert _plan(student, teacher).block == 'lckd_classification'


def test_lists_are_repeated_as_a_whole() -> None:
    cfg = Config(dict(loader=dict(sets=[dict(a=1), dict(a=2)], size=4)))
    scoped = Config(
        dict(default_scope='mmdet', steps=[dict(type='A', _scope_='mmdet'), dict(type='B', _scope_='mmseg')])
    )
    assert recipe_changes(scoped, {'steps.0.type': 'A'}) == dict(
        steps=[dict(type='A'), dict(type='B', _scope_='mmseg')]
    )
    assert recipe_changes(cfg, {'loader.sets.0.a': 1}) == dict(loader=dict(sets=[dict(a=1), dict(a=2)]))


@pytest.mark.parametrize(
    'value', [1, 'a', None, (1,), [], {}, dict(a=dict(b=[1, (2, 3)])), {'a.b': 'c'}, ['x' * 70, dict(y='z' * 70)], 1e-6]
)
def test_rendered_values_are_read_back(value: Any) -> None:
    assert eval(render(value)) == value
