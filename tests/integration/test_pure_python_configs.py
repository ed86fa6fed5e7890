"""Distillations and models in pure Python configs, which inherit with `read_base` and name classes."""

import argparse
import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmpretrain.models import ImageClassifier
from torch import nn

from lckd_mm.analysis.configs import load_config
from lckd_mm.cli.config import expand_losses
from lckd_mm.cli.test import enable_drawing
from lckd_mm.cli.train import apply_arguments
from lckd_mm.errors import ConfigValueError
from tests.helpers.configs import build_from_config
from tests.helpers.small_classifiers import classification_batch

STUDENT = """
from mmpretrain.models import ClsDataPreprocessor, CrossEntropyLoss, GlobalAveragePooling, ImageClassifier, LinearClsHead, ResNet_CIFAR

default_scope = {scope!r}
data_preprocessor = dict(type=ClsDataPreprocessor, num_classes=5, mean=[125.0], std=[60.0])
model = dict(
    type=ImageClassifier,
    backbone=dict(type=ResNet_CIFAR, depth=18, base_channels=4, stem_channels=4),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=5, in_channels=32, loss=dict(type=CrossEntropyLoss)),
)
"""
DISTILLATION = """
from mmengine.config import read_base
with read_base():
    from .student import *
from lckd_mm.models import LipschitzDistill, LipschitzDistiller

model = dict(
    type=LipschitzDistill,
    architecture=model,
    teacher=dict(
        cfg_path={folder!r} + '/student.py',
        cfg_options={{'backbone.base_channels': 8, 'backbone.stem_channels': 8, 'head.in_channels': 64}},
    ),
    allow_random_teacher=True,
    distiller=dict(
        type=LipschitzDistiller,
        taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4'],
        losses=dict(lipschitz=dict(loss_weight=0.5), ofd=dict()),
    ),
)
"""


def _write(folder: Path, scope: str | None = 'mmpretrain') -> str:
    (folder / 'student.py').write_text(STUDENT.format(scope=scope))
    (folder / 'distillation.py').write_text(DISTILLATION.format(folder=str(folder)))
    return str(folder / 'distillation.py')


def _first_loss(cfg: Config) -> tuple[nn.Module, float]:
    model = build_from_config(cfg)
    model.init_weights()
    model.train()
    torch.manual_seed(0)
    images, samples = classification_batch()
    loss, _ = model.parse_losses(model(images, samples, mode='loss'))
    loss.backward()
    return model, loss.item()


@pytest.mark.parametrize('scope', ['mmpretrain', None])
def test_distillation_trains_with_options(scope: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {
        'model.distiller.losses.lipschitz.loss_weight': 0.25,
        'model.architecture.head.num_classes': 7,
        'model.teacher.cfg_options': {'head.num_classes': 7},
    }
    cfg = load_config(_write(tmp_path, scope), options)
    with caplog.at_level(logging.WARNING):
        model, _ = _first_loss(cfg)
    assert 'Failed to' not in caplog.text
    assert isinstance(model.student, ImageClassifier)
    assert isinstance(model.teacher, ImageClassifier)
    assert (model.student.backbone.base_channels, model.teacher.backbone.base_channels) == (4, 8)
    assert model.student.head.num_classes == model.teacher.head.num_classes == 7
    assert model.distiller.distill_losses.loss_lipschitz.loss_weight == 0.25
    assert len(model.distiller.adapters) == 4
    assert all(p.grad is not None for p in model.distiller.parameters())


def test_expanded_and_dumped_forms_have_the_same_first_loss(tmp_path: Path) -> None:
    cfg = load_config(_write(tmp_path))
    _, expected = _first_loss(cfg)
    cfg.dump(tmp_path / 'dumped.py')
    expand_losses(cfg)
    (tmp_path / 'expanded.py').write_text(cfg.pretty_text)
    assert 'losses' not in load_config(str(tmp_path / 'expanded.py')).model.distiller
    for name in ('dumped.py', 'expanded.py'):
        assert _first_loss(load_config(str(tmp_path / name)))[1] == expected


def test_text_config_distills_models_of_pure_python_configs(tmp_path: Path) -> None:
    _write(tmp_path)
    teacher = Config.fromfile(tmp_path / 'distillation.py').model.teacher.to_dict()
    model = dict(architecture=dict(cfg_path=teacher['cfg_path']), teacher=teacher, allow_random_teacher=True)
    text = "_base_ = ['mmpretrain::_base_/default_runtime.py', 'lckd_mm::_base_/distillers/lckd_classification.py']\n"
    (tmp_path / 'text.py').write_text(f'{text}model = dict(_base_.distillation, **{model})\n')
    assert _first_loss(load_config(str(tmp_path / 'text.py')))[1] > 0


def test_text_config_that_inherits_a_pure_python_config_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / 'text.py').write_text("_base_ = 'student.py'\n")
    with pytest.raises(ConfigValueError, match='must match the current configuration file type'):
        load_config(str(tmp_path / 'text.py'))


class DrawingHook(Hook):
    def __init__(self, draw: bool = False, test_out_dir: str | None = None) -> None:
        self.draw, self.test_out_dir = draw, test_out_dir


@pytest.mark.parametrize('kind', [OptimWrapper, AmpOptimWrapper])
def test_arguments_accept_classes(kind: type) -> None:
    cfg = Config(dict(optim_wrapper=dict(type=kind), default_hooks=dict(visualization=dict(type=DrawingHook))))
    apply_arguments(cfg, argparse.Namespace(amp=True, auto_scale_lr=False, resume=None))
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', loss_scale='dynamic')
    enable_drawing(cfg, show=False, folder=None)
    assert cfg.default_hooks.visualization == dict(type=DrawingHook, draw=True, test_out_dir=None)
