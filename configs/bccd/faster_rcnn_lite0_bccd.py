# Student without distillation on BCCD: Faster R-CNN on EfficientNet-Lite0, 40 epochs.
_base_ = ['../_base_/models/faster_rcnn_lite0.py', './_base_/bccd_320.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
train_dataloader = dict(batch_size=16)
train_cfg = dict(val_interval=20)
default_hooks = dict(checkpoint=dict(interval=10))
