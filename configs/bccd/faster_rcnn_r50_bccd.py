_base_ = ['../demo/faster_rcnn_r50_digits.py', './_base_/bccd.py']
model = _base_.three_classes

train_dataloader = _base_.bccd.train_dataloader
val_dataloader = _base_.bccd.val_dataloader
test_dataloader = _base_.bccd.test_dataloader
train_cfg = dict(max_epochs=_base_.bccd_teacher_epochs, val_interval=6)
param_scheduler = _base_.bccd.param_scheduler
param_scheduler[1].end = _base_.bccd_teacher_epochs
data_help = _base_.bccd.data_help
default_hooks = _base_.bccd.default_hooks
