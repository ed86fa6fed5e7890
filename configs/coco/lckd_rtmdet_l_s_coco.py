# RTMDet-l teaches RTMDet-s on COCO.
_base_ = ['mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py'),
    # mmdet's checkpoint: 51.3 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_l_8xb32-300e_coco/'
    'rtmdet_l_8xb32-300e_coco_20220719_112030-5a0be7c4.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=[f'backbone.stage{i}' for i in (1, 2, 3, 4)],
    ),
)
default_hooks = _base_.distillation_hooks
data_help = 'download COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
