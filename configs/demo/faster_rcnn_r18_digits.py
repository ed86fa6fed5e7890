_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    './_base_/digits_voc.py',
    './_base_/schedule_7e.py',
    './_base_/small_faster_rcnn.py',
]
model = _base_.small_student
