# The Lipschitz loss together with CWD on normalized maps of the neck: RTMDet-s teaches RTMDet-tiny on COCO.
# CWD as in mmyolo's configs/rtmdet/distillation, where it gains 0.8 box AP (41.0 to 41.8).
_base_ = ['mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', '../_base_/distillers/lckd_detection.py']
model = dict(
    _base_.distillation,
    _delete_=True,
    architecture=_base_.model,
    teacher=dict(cfg_path='mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'),
    # mmdet's checkpoint: 44.5 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_s_8xb32-300e_coco/'
    'rtmdet_s_8xb32-300e_coco_20220905_161602-387a891e.pth',
    distiller=dict(
        _base_.distillation.distiller,
        taps=[f'backbone.stage{i}' for i in (1, 2, 3, 4)],
        losses=dict(
            _base_.distillation.distiller.losses,
            cwd=dict(taps=[f'neck.out_convs.{i}.conv' for i in (0, 1, 2)], normalize=True, loss_weight=1.0),
        ),
    ),
)
default_hooks = dict(
    _base_.distillation_hooks,
    # The student trains alone from the epoch in which its recipe switches mosaic and mixup off.
    stop_distillation=dict(type='mmrazor.StopDistillHook', stop_epoch=_base_.max_epochs - _base_.stage2_num_epochs),
)
data_help = 'download COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
