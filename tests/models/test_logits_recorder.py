import pytest
from torch import nn

from lckd_mm.models.recorders.logits_recorder import find_logits
from lckd_mm.models.utils import build_model


@pytest.mark.parametrize(
    ('config', 'layer'),
    [
        ('mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py', 'decode_head.conv_seg'),
        ('mmseg::unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py', 'decode_head.conv_seg'),
        ('mmpretrain::resnet/resnet18_8xb16_cifar10.py', 'head.fc'),
        # Heads with further layers of as many outputs, most of which are for auxiliary losses.
        ('mmseg::ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py', 'decode_head.conv_seg'),
        ('mmseg::pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py', 'decode_head.conv_seg'),
        ('mmseg::danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'decode_head.conv_seg'),
        ('mmseg::encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py', 'decode_head.conv_seg'),
    ],
)
def test_class_scores_are_those_of_the_main_head(config: str, layer: str) -> None:
    assert find_logits(build_model(dict(cfg_path=config, cfg_options={'pretrained': None}))) == layer


def test_class_scores_are_not_a_hidden_layer_of_as_many_channels() -> None:
    config = 'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py'
    model = build_model(dict(cfg_path=config, cfg_options={'decode_head.num_classes': 12, 'pretrained': None}))
    assert model.decode_head.c1_bottleneck.conv.out_channels == 12
    assert find_logits(model) == 'decode_head.conv_seg'


def test_a_model_can_be_its_own_head() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    model.num_classes = 3
    assert find_logits(model) == '1'


@pytest.mark.parametrize(
    ('config', 'layer'),
    [
        ('mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py', 'decode_head.1.conv_seg'),
        # The point head has a 1-d convolution.
        ('mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py', 'decode_head.0.conv_seg'),
    ],
)
def test_class_scores_of_a_cascade_are_those_of_its_last_head(config: str, layer: str) -> None:
    model = build_model(dict(cfg_path=config, cfg_options={'pretrained': None, 'backbone.init_cfg': None}))
    assert find_logits(model) == layer


def test_auxiliary_heads_are_no_stages_of_the_main_head() -> None:
    def head() -> nn.Module:
        module = nn.Sequential(nn.Linear(4, 3))
        module.num_classes = 3
        return module

    model = nn.ModuleDict(dict(head=head(), others=nn.ModuleList([head(), head()])))
    assert find_logits(model) == 'head.0'
    del model['head']
    assert find_logits(model) == 'others.1.0'
