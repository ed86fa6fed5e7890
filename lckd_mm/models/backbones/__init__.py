from .cifar_resnet import CIFARResNet
from .efficientnet_lite import EfficientNetLite
from .efficientnet_lite_weights import load_from_efficientnet_lite
from .mobilenet_v1 import MobileNetV1
from .pyramid_net import PyramidNet
from .staged_backbone import StagedBackbone

__all__ = [
    'CIFARResNet',
    'EfficientNetLite',
    'MobileNetV1',
    'PyramidNet',
    'StagedBackbone',
    'load_from_efficientnet_lite',
]
