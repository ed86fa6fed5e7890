# Teacher of the SSD settings on VOC 07+12: SSD300 on a ResNet-50.
_base_ = [
    '../_base_/models/ssd300_resnet.py',
    '../_base_/datasets/voc0712_ssd300.py',
    '../_base_/schedules/ssd_24e.py',
    'mmdet::_base_/default_runtime.py',
]
