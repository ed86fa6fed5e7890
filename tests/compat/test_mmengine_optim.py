"""The optimizer of a distillation treats each parameter of the student as the optimizer of the student alone."""

import copy
from typing import Any

import pytest
import torch
from mmdet.engine.optimizers import LearningRateDecayOptimizerConstructor as DetLearningRateDecay
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import DefaultScope
from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor as ClsLearningRateDecay
from mmseg.engine.optimizers import (
    ForceDefaultOptimWrapperConstructor,
    LayerDecayOptimizerConstructor,
)
from mmseg.engine.optimizers import (
    LearningRateDecayOptimizerConstructor as SegLearningRateDecay,
)
from torch import nn

from lckd_mm.models.utils import build_model
from tests.helpers.small_classifiers import build_distillation, classification_batch, classifier, spectral_distiller


def convnext(width: int = 4) -> dict[str, Any]:
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(
            type='ConvNeXt', arch=dict(depths=[1, 2, 4, 1], channels=[width, 2 * width, 3 * width, 4 * width])
        ),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=4 * width),
    )


def beit(width: int = 8) -> dict[str, Any]:
    arch = dict(embed_dims=width, num_layers=3, num_heads=2, feedforward_channels=2 * width)
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='BEiTViT', arch=arch, img_size=64, patch_size=16, out_type='avg_featmap'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=width),
    )


def resnet(width: int = 4) -> dict[str, Any]:
    model = classifier(base_channels=width)
    model['backbone']['frozen_stages'] = 1
    return model


STUDENTS = {
    'convnext': (convnext, [f'backbone.stages.{stage}' for stage in range(4)]),
    'beit': (beit, [f'backbone.layers.{layer}' for layer in range(3)]),
    'resnet': (resnet, [f'backbone.layer{stage}' for stage in (1, 2, 3, 4)]),
}
CASES = {
    'default': (DefaultOptimWrapperConstructor, 'resnet', None),
    'custom keys': (
        DefaultOptimWrapperConstructor,
        'resnet',
        dict(
            custom_keys={
                'backbone': dict(lr_mult=0.1),
                'head': dict(lr_mult=10, decay_mult=0),
                'layer4': dict(decay_mult=2),
            }
        ),
    ),
    'norms and biases': (
        DefaultOptimWrapperConstructor,
        'resnet',
        dict(norm_decay_mult=0, bias_decay_mult=0, bias_lr_mult=2),
    ),
    'flat and depthwise': (DefaultOptimWrapperConstructor, 'convnext', dict(flat_decay_mult=0, dwconv_decay_mult=0.5)),
    'forced default': (
        ForceDefaultOptimWrapperConstructor,
        'convnext',
        dict(norm_decay_mult=0, force_default_settings=True, custom_keys={'backbone': dict(lr_mult=0.1)}),
    ),
    'mmdet layer_wise': (DetLearningRateDecay, 'convnext', dict(num_layers=6, decay_rate=0.7, decay_type='layer_wise')),
    'mmdet stage_wise': (DetLearningRateDecay, 'convnext', dict(num_layers=6, decay_rate=0.7, decay_type='stage_wise')),
    'mmseg layer_wise': (SegLearningRateDecay, 'convnext', dict(num_layers=6, decay_rate=0.7, decay_type='layer_wise')),
    'mmseg stage_wise': (SegLearningRateDecay, 'convnext', dict(num_layers=6, decay_rate=0.7, decay_type='stage_wise')),
    'mmseg layers of BEiT': (LayerDecayOptimizerConstructor, 'beit', dict(num_layers=3, layer_decay_rate=0.7)),
    'mmseg rates of BEiT': (SegLearningRateDecay, 'beit', dict(num_layers=3, decay_rate=0.7, decay_type='layer_wise')),
    'mmpretrain convnext': (
        ClsLearningRateDecay,
        'convnext',
        dict(layer_decay_rate=0.7, norm_decay_mult=0, custom_keys={'.gamma': dict(decay_mult=0)}),
    ),
    'mmpretrain beit': (
        ClsLearningRateDecay,
        'beit',
        dict(layer_decay_rate=0.65, bias_decay_mult=0, flat_decay_mult=0),
    ),
}


def distillation(name: str, **changes: Any) -> nn.Module:
    make, taps = STUDENTS[name]
    distiller = spectral_distiller(taps=taps, adapters=True, probe_size=(64, 64))
    return build_distillation(distiller, architecture=make(), teacher=make(8 if name != 'beit' else 16), **changes)


def construct(constructor: type, model: nn.Module, options: dict[str, Any] | None) -> OptimWrapper:
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.05))
    with DefaultScope.overwrite_default_scope('mmengine'):
        return constructor(cfg, copy.deepcopy(options))(model)


def settings(model: nn.Module, optimizer: OptimWrapper) -> dict[str, tuple[float, float]]:
    """Return learning rate and weight decay of each parameter by its name in a model."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [(parameter, group) for group in optimizer.param_groups for parameter in group['params']]
    return {names[p]: (group['lr'], group['weight_decay']) for p, group in groups if p in names}


@pytest.mark.parametrize(('constructor', 'student', 'options'), CASES.values(), ids=CASES)
def test_rate_and_decay_of_each_parameter_are_those_of_the_student_alone(
    constructor: type, student: str, options: dict | None
) -> None:
    alone = build_model(STUDENTS[student][0]())
    expected = settings(alone, construct(constructor, alone, options))
    model = distillation(student)
    optimizer = construct(constructor, model, options)
    actual = settings(model.student, optimizer)
    if options is None:
        # The frozen stages have no gradient; the default constructor passes them to the optimizer all the same.
        assert {name for name, _ in alone.named_parameters()} == set(expected)
    else:
        assert len(set(expected.values())) > 1
    assert actual == expected
    # The adapters are trained at the rate of the config, and nothing else is in the optimizer.
    adapters = {name: rate for name, (rate, _) in settings(model.distiller, optimizer).items()}
    assert adapters == dict.fromkeys(dict(model.distiller.named_parameters()), 0.01)
    assert len(settings(model, optimizer)) == len(actual) + len(adapters)


def test_names_of_the_distillation_are_valid_custom_keys() -> None:
    model = distillation('resnet')
    options = dict(custom_keys={'architecture.backbone': dict(lr_mult=0.1), 'distiller': dict(lr_mult=5)})
    actual = settings(model, construct(DefaultOptimWrapperConstructor, model, options))
    assert actual['architecture.backbone.layer4.0.conv1.weight'][0] == pytest.approx(0.001)
    assert actual['architecture.head.fc.weight'][0] == pytest.approx(0.01)
    assert actual['distiller.adapters.tap0.conv.weight'][0] == pytest.approx(0.05)


def test_trainable_teacher_is_in_the_optimizer() -> None:
    model = distillation('resnet', teacher_trainable=True)
    optimizer = construct(DefaultOptimWrapperConstructor, model, None)
    assert set(model.teacher.parameters()) <= {p for group in optimizer.param_groups for p in group['params']}


def test_view_of_a_wrapped_distillation_is_that_of_the_distillation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = distillation('convnext')
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    wrapper.module = model
    optimizer = construct(DetLearningRateDecay, wrapper, CASES['mmdet layer_wise'][2])
    assert len({group['lr'] for group in optimizer.param_groups}) > 2


def test_frozen_teacher_is_in_no_group_and_not_clipped() -> None:
    model = distillation('resnet')
    model.init_weights()
    cfg = dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), clip_grad=dict(max_norm=1e-3))
    with DefaultScope.overwrite_default_scope('mmengine'):
        optimizer = DefaultOptimWrapperConstructor(cfg)(model)
    teacher = {name: value.clone() for name, value in model.teacher.state_dict().items()}
    received: list[torch.Tensor] = []
    clip = optimizer.clip_func
    optimizer.clip_func = lambda parameters, **options: (received.extend(parameters), clip(parameters, **options))[1]
    losses = model.train()(*classification_batch(), mode='loss')
    optimizer.update_params(model.parse_losses(losses)[0])
    trained = {p for group in optimizer.param_groups for p in group['params']}
    assert not trained & set(model.teacher.parameters())
    assert received
    assert not set(received) & set(model.teacher.parameters())
    torch.testing.assert_close(dict(model.teacher.state_dict()), teacher, rtol=0, atol=0)
