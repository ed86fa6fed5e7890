"""Configs and models of lckd_mm in mmengine's hub."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config, get_model
from mmengine.registry import DefaultScope

from lckd_mm.errors import ConfigError
from lckd_mm.models.algorithms import LipschitzDistill
from tests.helpers.tools import ROOT


def test_the_hub_gives_the_config_of_a_file() -> None:
    path = 'demo/lckd_resnet_w16_w4_digits.py'
    assert get_config(f'lckd_mm::{path}').model == Config.fromfile(ROOT / 'configs' / path).model


@pytest.mark.parametrize(
    ('path', 'name'),
    [
        ('demo/lckd_resnet_w16_w4_digits.py', 'LipschitzDistill'),
        ('demo/lckd_faster_rcnn_r50_r18_digits.py', 'LipschitzDistill'),
        ('demo/deeplabv3plus_r18w8_digits.py', 'EncoderDecoder'),
        ('demo/resnet_w4_digits.py', 'ImageClassifier'),
    ],
)
def test_the_hub_builds_the_model_of_a_config(path: str, name: str) -> None:
    scope = DefaultScope.get_current_instance()
    model = get_model(f'lckd_mm::{path}')
    assert type(model).__name__ == name
    # The top-level data preprocessor of the config belongs to the model, as in a training.
    student = model.student if isinstance(model, LipschitzDistill) else model
    assert torch.is_tensor(student.data_preprocessor.mean)
    assert DefaultScope.get_current_instance() is scope


def test_arguments_of_the_hub_are_defaults_of_the_model() -> None:
    checkpoint = dict(type='Pretrained', checkpoint='student.pth')
    assert get_model('lckd_mm::demo/resnet_w4_digits.py', init_cfg=checkpoint).init_cfg == checkpoint


@pytest.mark.parametrize(
    ('path', 'pretrained', 'sentence'),
    [
        ('demo/resnet_w4_digits.py', True, 'publishes no checkpoints'),
        ('_base_/distillers/lckd_detection.py', False, 'has no `model`'),
        ('demo/resnet_w5_digits.py', False, "did you mean 'demo/resnet_w4_digits.py'"),
    ],
)
def test_what_the_hub_cannot_build_is_one_sentence(path: str, pretrained: bool, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        get_model(f'lckd_mm::{path}', pretrained=pretrained)


def test_models_of_other_packages_are_built_by_mmengine() -> None:
    assert type(get_model('mmpretrain::resnet/resnet18_8xb32_in1k.py')).__name__ == 'ImageClassifier'
