# BCCD (MIT license): blood cells on 205 training, 87 validation and 72 test photographs of 640x480 pixels.
_base_ = ['mmdet::_base_/default_runtime.py', '../../_base_/schedules/adamw_12e.py']
bccd = dict(
    type='XMLDataset',
    data_root='data/bccd/',
    data_prefix=dict(sub_data_root=''),
    metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
)
boxes = dict(type='LoadAnnotations', with_bbox=True)
# One red blood cell of the set has a box without area, which makes the loss of some heads infinite.
load = [dict(type='LoadImageFromFile'), boxes, dict(type='FilterAnnotations', min_gt_bbox_wh=(1, 1))]
flip_and_pack = [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
pack_test = dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
# Loading a batch takes 50 ms; worker processes would slow down the training on few cores.
loader = dict(batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
train_set = dict(bccd, ann_file='ImageSets/Main/train.txt')
train_dataloader = dict(loader, sampler=dict(type='DefaultSampler', shuffle=True), dataset=train_set)
val_dataloader = dict(loader, dataset=dict(bccd, ann_file='ImageSets/Main/val.txt', test_mode=True))
test_dataloader = dict(loader, dataset=dict(bccd, ann_file='ImageSets/Main/test.txt', test_mode=True))
# The mean over five IoU thresholds, since the mAP at 0.5 of a good detector is near 0.9.
val_evaluator = dict(type='VOCMetric', metric='mAP', eval_mode='area', iou_thrs=[0.5, 0.6, 0.7, 0.8, 0.9])
test_evaluator = val_evaluator
optim_wrapper = dict(clip_grad=dict(max_norm=10))
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
data_help = 'download the BCCD data set and put its folders Annotations, JPEGImages and ImageSets into data/bccd'
