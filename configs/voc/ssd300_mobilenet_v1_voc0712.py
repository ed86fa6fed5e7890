# Student without distillation on VOC 07+12: SSD300 on a MobileNet v1.
_base_ = './ssd300_r50_voc0712.py'
model = dict(
    # From random weights. For the weights of configs/imagenet/mobilenet_v1_in1k.py, add
    # init_cfg=dict(type='Pretrained', prefix='backbone.', checkpoint='...').
    backbone=dict(_delete_=True, type='lckd_mm.models.MobileNetV1', num_stages=4, out_indices=(2, 3)),
    neck=dict(in_channels=(256, 512), out_channels=(256, 512, 512, 256, 256, 256)),
    bbox_head=dict(in_channels=(256, 512, 512, 256, 256, 256)),
)
