_base_ = ['../demo/lckd_faster_rcnn_digits.py', './_base_/bccd.py']
model = dict(
    architecture=dict(cfg_options=_base_.three_classes),
    teacher=dict(cfg_options=_base_.three_classes),
    teacher_ckpt='work_dirs/faster_rcnn_r50_bccd/epoch_24.pth',
)

train_dataloader = _base_.bccd.train_dataloader
val_dataloader = _base_.bccd.val_dataloader
test_dataloader = _base_.bccd.test_dataloader
train_cfg = dict(max_epochs=_base_.bccd_epochs, val_interval=4)
param_scheduler = _base_.bccd.param_scheduler
data_help = _base_.bccd.data_help
default_hooks = _base_.bccd.default_hooks
