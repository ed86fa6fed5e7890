# Teacher on BCCD: a small Faster R-CNN R50-FPN, 24 epochs, three times as many as the student.
_base_ = ['../_base_/models/faster_rcnn_r50w16.py', './_base_/bccd_240.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=24)]
train_cfg = dict(max_epochs=24, val_interval=6)
