# WRN-28-4 (MMRazor's WideResNet), the teacher of most CIFAR settings. `head.in_channels` is 64 * widen_factor.
model = dict(
    type='ImageClassifier',
    _scope_='mmpretrain',
    backbone=dict(type='mmrazor.WideResNet', depth=28, widen_factor=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=256, topk=(1, 5)),
)
