# RTMDet-l teaches RTMDet-s, with the data and the schedule of the student alone: mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py.
_base_ = 'mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'

from mmengine.hub import get_config  # noqa: E402

# Two bases may not both define `model`, so that the block is laid over the student's by hand.
block = get_config('lckd_mm::_base_/distillers/lckd_backbone.py')
model = dict(
    _delete_=True,
    architecture=dict(cfg_path='mmdet::rtmdet/rtmdet_s_8xb32-300e_coco.py'),
    teacher=dict(cfg_path='mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py'),
    # mmdet's own: 51.3 box AP.
    teacher_ckpt='https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_l_8xb32-300e_coco/'
    'rtmdet_l_8xb32-300e_coco_20220719_112030-5a0be7c4.pth',
    **block.model.to_dict(),
)
model['distiller']['taps'] = [f'backbone.stage{i}' for i in (1, 2, 3, 4)]
custom_hooks = [*_base_.custom_hooks, *block.to_dict()['custom_hooks']]
del block
data_help = 'get COCO 2017 and put its folders train2017, val2017 and annotations into data/coco'
