# Data and runtime of the CamVid comparison. mmseg's runtime counts iterations; this one counts epochs.
_base_ = ['mmseg::_base_/default_runtime.py', '../../_base_/datasets/camvid.py']
log_processor = dict(by_epoch=True)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=15),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=True, interval=1, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
randomness = dict(seed=0)
