# Student of the detection demonstration without distillation: a small Faster R-CNN R18-FPN.
_base_ = ['../_base_/models/faster_rcnn_r18w8.py', './_base_/digits.py']
