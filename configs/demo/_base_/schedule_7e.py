_base_ = 'mmdet::_base_/default_runtime.py'

max_epochs = 7
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Few epochs from random weights: an optimizer that needs no search for its rate, and 4e-3 beat 2e-3 for the student.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-3, weight_decay=0.02),
    clip_grad=dict(max_norm=10),
)
# Both multiply the optimizer's rate, so that `--auto-scale-lr` reaches them (OneCycleLR has a rate of its own).
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0, begin=1, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(max_keep_ckpts=1, save_best='pascal_voc/mAP', rule='greater'),
)
randomness = dict(seed=0)
