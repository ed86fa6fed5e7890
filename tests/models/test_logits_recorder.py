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
    ],
)
def test_class_scores_are_those_of_the_main_head(config: str, layer: str) -> None:
    assert find_logits(build_model(dict(cfg_path=config))) == layer


def test_a_model_can_be_its_own_head() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    model.num_classes = 3
    assert find_logits(model) == '1'
