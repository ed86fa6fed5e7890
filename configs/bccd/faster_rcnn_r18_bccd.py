# Student without distillation on BCCD: a small Faster R-CNN R18-FPN.
_base_ = ['../_base_/models/faster_rcnn_r18w8.py', './_base_/bccd_240.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
