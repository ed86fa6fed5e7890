# Teacher on BCCD: Faster R-CNN on EfficientNet-Lite2, 40 epochs.
_base_ = ['../_base_/models/faster_rcnn_lite2.py', './_base_/bccd_320.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))
