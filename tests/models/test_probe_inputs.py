"""The inputs that the probe tries, and a model of several views."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from lckd_mm.models.distillers.probe_inputs import list_probe_inputs
from tests.helpers.small_classifiers import build_distillation, classifier, spectral_distiller, train_step


def test_channels_and_size_are_those_of_the_convolution_and_of_the_preprocessor() -> None:
    with DefaultScope.overwrite_default_scope('mmseg'):
        statistics = dict(type='SegDataPreProcessor', mean=[1.0] * 3, std=[1.0] * 3, size=(64, 96))
        head = dict(type='FCNHead', in_channels=32, channels=4, num_classes=3, in_index=3)
        backbone = dict(type='ResNet', depth=18, in_channels=5, base_channels=4, stem_channels=4)
        segmentor = dict(type='EncoderDecoder', backbone=backbone, decode_head=head, data_preprocessor=statistics)
        model = MODELS.build(segmentor)
    # Some versions of mmengine accept one or three values only.
    model.data_preprocessor.mean = torch.ones(4, 1, 1)
    sizes = [(128, 128), (64, 96), (224, 224), (32, 32)]
    expected = [(channels, *size) for size in sizes for channels in (5, 4, 3)]
    assert list_probe_inputs(model, None, None, None) == expected
    assert list_probe_inputs(model, None, None, (32, 32))[0] == (5, 32, 32)
    assert list_probe_inputs(model, (8, 8), None, (32, 32)) == [(5, 8, 8), (4, 8, 8), (3, 8, 8)]
    assert list_probe_inputs(model, None, dict(rgb=(3, 8, 8)), None) == [dict(rgb=(3, 8, 8))]


@pytest.mark.parametrize('name', ['img_size', 'init_input_size'])
def test_the_image_size_of_a_transformer_is_tried(name: str) -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 16, 16)))
    assert (3, 256, 320) not in list_probe_inputs(model, None, None, None)
    setattr(model[0], name, (256, 320))
    assert list_probe_inputs(model, None, None, None)[1] == (3, 256, 320)


def test_views_of_a_self_supervised_model_are_a_list_of_batches() -> None:
    config = dict(
        type='SimSiam',
        _scope_='mmpretrain',
        backbone=classifier()['backbone'],
        neck=dict(
            type='NonLinearNeck',
            in_channels=32,
            hid_channels=8,
            out_channels=8,
            with_last_bn_affine=False,
            with_avg_pool=True,
        ),
        head=dict(
            type='LatentPredictHead',
            loss=dict(type='CosineSimilarityLoss'),
            predictor=dict(
                type='NonLinearNeck',
                in_channels=8,
                hid_channels=4,
                out_channels=8,
                with_avg_pool=False,
                with_last_bn=False,
                with_last_bias=True,
            ),
        ),
    )
    model = build_distillation(spectral_distiller(), architecture=config, teacher=config)
    model.init_weights()
    losses = train_step(model, ([torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64)], None))
    assert losses['distill.loss_lipschitz'].isfinite()
