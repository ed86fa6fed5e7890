"""A distillation config in the documented form keeps the complete recipe of its student."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, TRANSFORMS, DefaultScope

import lckd_mm  # noqa: F401  (registers the components)
from tests.helpers.configs import build_from_config, stand_in_batch

pytestmark = pytest.mark.usefixtures('no_downloads')

FORM = """
_base_ = ['{student}', 'lckd_mm::_base_/distillers/{block}.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='{teacher}'),
    teacher_ckpt='teacher.pth',
    distiller=dict(_base_.distillation.distiller, {options}))
default_hooks = _base_.distillation_hooks
"""


class Case(NamedTuple):
    student: str
    teacher: str
    block: str
    options: str
    """Options of the distiller."""

    recipe: tuple[str, ...]
    """Parts of the recipe that this student has."""


CASES = {
    'rtmdet': Case(
        'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py',
        'mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py',
        'lckd_detection',
        "taps=[f'backbone.stage{i}' for i in (1, 2, 3, 4)]",
        ('custom_hooks', 'tta_model', 'tta_pipeline', 'train_pipeline_stage2'),
    ),
    'segformer': Case(
        'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
        'mmseg::segformer/segformer_mit-b1_8xb1-160k_cityscapes-1024x1024.py',
        'lckd_segmentation',
        "taps=[f'backbone.layers.{i}.2' for i in range(4)]",
        ('tta_model', 'tta_pipeline', 'data_preprocessor'),
    ),
    'swin': Case(
        'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
        'mmpretrain::swin_transformer/swin-small_16xb64_in1k.py',
        'lckd_classification',
        "taps=[dict(source=f'backbone.stages.{i}', data_idx=0) for i in range(4)], probe_size=(224, 224)",
        ('data_preprocessor',),
    ),
}
# What every student config has.
COMMON = (
    'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_pipeline', 'test_pipeline', 'val_evaluator',
    'test_evaluator', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg', 'default_scope', 'env_cfg',
)  # fmt: skip


def _distillation(folder: Path, case: Case) -> Config:
    path = folder / 'my_distillation.py'
    path.write_text(FORM.format(**case._asdict()))
    return Config.fromfile(path)


def _plain(value: object) -> object:
    """Return a config without ``_scope_``."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != '_scope_'}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_recipe_of_the_student_arrives_complete(case: Case, tmp_path: Path) -> None:
    cfg, student = _distillation(tmp_path, case), get_config(case.student)
    assert set(COMMON) <= set(student)
    assert set(case.recipe) <= set(student)
    for key in set(student) - {'model', 'default_hooks'}:
        assert _plain(cfg[key]) == _plain(student[key]), key
    assert set(cfg) - set(student) == {'custom_imports', 'distillation', 'distillation_hooks'} - set(student)
    assert _plain(cfg.model.architecture) == _plain(student.model)
    assert _plain(cfg.default_hooks) == {**_plain(student.default_hooks), **_plain(cfg.distillation_hooks)}
    assert {'lipschitz_monitor', 'class_count', 'annotation_check'} <= set(cfg.default_hooks)


def test_ema_and_the_pipeline_switch_of_rtmdet_arrive(tmp_path: Path) -> None:
    cfg = _distillation(tmp_path, CASES['rtmdet'])
    assert [hook.type for hook in cfg.custom_hooks] == ['EMAHook', 'PipelineSwitchHook']


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_pipelines_and_hooks_of_the_distillation_are_built(case: Case, tmp_path: Path) -> None:
    cfg = _distillation(tmp_path, case)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for transform in [*cfg.train_pipeline, *cfg.test_pipeline]:
            TRANSFORMS.build(transform)
        hooks = {**cfg.default_hooks, **dict(enumerate(cfg.get('custom_hooks', [])))}
        # A visualization hook needs the visualizer of a Runner.
        for name in set(hooks) - {'visualization'}:
            HOOKS.build(hooks[name])


@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_student_and_its_data_preprocessor_are_built_as_without_distillation(case: Case, tmp_path: Path) -> None:
    cfg, student_cfg = _distillation(tmp_path, case), get_config(case.student)
    student, model = build_from_config(student_cfg), build_from_config(cfg)
    # Activations that would overwrite recorded maps compute out of place.
    assert repr(model.student).replace('inplace=True', '') == repr(student).replace('inplace=True', '')
    expected, actual = student.data_preprocessor, model.data_preprocessor
    assert type(actual) is type(expected)
    plain = (bool, int, float, str, tuple, list, type(None))
    options = {name: value for name, value in vars(expected).items() if isinstance(value, plain)}
    assert {name: vars(actual)[name] for name in options} == options
    for name, statistics in expected.named_buffers():
        assert torch.equal(actual.get_buffer(name), statistics)


def test_mixup_and_cutmix_of_swin_are_applied_to_the_batches_of_the_distillation(tmp_path: Path) -> None:
    from mmpretrain.structures import DataSample

    model = build_from_config(_distillation(tmp_path, CASES['swin']))
    augments = model.data_preprocessor.batch_augments
    assert [type(augment).__name__ for augment in augments.augments] == ['Mixup', 'CutMix']
    images = [torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8) for _ in range(8)]
    samples = [DataSample().set_gt_label(label) for label in range(8)]
    np.random.seed(0)
    torch.manual_seed(0)
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    # The label of a mixed image has two classes.
    scores = torch.stack([sample.gt_score for sample in batch['data_samples']])
    assert scores.count_nonzero() > len(samples)


@pytest.mark.parametrize('name', ['rtmdet', 'segformer'])
def test_distillation_takes_a_training_step_with_the_optimizer_of_the_student(name: str, tmp_path: Path) -> None:
    cfg = _distillation(tmp_path, CASES[name])
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    model = build_from_config(cfg)
    model.init_weights()
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    images, samples = stand_in_batch(cfg, model.train())
    losses = model(images, samples, mode='loss')
    total, _ = model.parse_losses(losses)
    before = [parameter.detach().clone() for parameter in model.student.backbone.parameters()]
    optimizer.update_params(total)
    assert losses['distill.loss_lipschitz'] > 0
    assert any((p != q).any() for p, q in zip(model.student.backbone.parameters(), before))


def test_config_of_the_installed_package_is_inherited_by_another_project(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text("""
_base_ = 'lckd_mm::demo/lckd_faster_rcnn_r50_r18_digits.py'
model = dict(
    architecture=dict(roi_head=dict(bbox_head=dict(num_classes=3))),
    teacher=dict(cfg_options={'roi_head.bbox_head.num_classes': 3}),
    distiller=dict(losses=dict(lipschitz=dict(loss_weight=1.0))),
    teacher_ckpt=None,
    allow_random_teacher=True)
default_hooks = dict(lipschitz_monitor=dict(interval=50))
""")
    cfg = Config.fromfile(tmp_path / 'mine.py')
    model = build_from_config(cfg)
    assert model.student.roi_head.bbox_head.num_classes == model.teacher.roi_head.bbox_head.num_classes == 3
    assert model.distiller.distill_losses.loss_lipschitz.loss_weight == 1.0
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        assert HOOKS.build(cfg.default_hooks.lipschitz_monitor).interval == 50
