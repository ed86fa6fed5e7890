# PyramidNet-200 (alpha 240) on CIFAR-100: teacher of the settings (e) and (f).
_base_ = './wrn28_4_cifar100.py'
model = dict(
    backbone=dict(_delete_=True, type='lckd_mm.models.PyramidNet', depth=200, alpha=240, bottleneck=True),
    head=dict(in_channels=1024),
)
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=64)
