from .cifar_resnet import CIFARResNet
from .mobilenet_v1 import MobileNetV1
from .pyramid_net import PyramidNet
from .staged_backbone import StagedBackbone

__all__ = ['CIFARResNet', 'MobileNetV1', 'PyramidNet', 'StagedBackbone']
