# Teacher of the detection demonstration: a small Faster R-CNN R50-FPN.
_base_ = ['../_base_/models/faster_rcnn_r50w16.py', './_base_/digits.py']
