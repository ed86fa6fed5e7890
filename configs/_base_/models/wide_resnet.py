# WRN-28-4, the teacher of most CIFAR rows; MMRazor's WideResNet. Depth and width of others: backbone.depth,
# backbone.widen_factor and head.in_channels, which is 64 times as much.
model = dict(
    type='ImageClassifier',
    _scope_='mmpretrain',
    backbone=dict(type='mmrazor.WideResNet', depth=28, widen_factor=4),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=100, in_channels=256, topk=(1, 5)),
)
