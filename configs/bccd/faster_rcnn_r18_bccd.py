_base_ = ['../demo/faster_rcnn_r18_digits.py', './_base_/bccd.py']
model = _base_.three_classes

train_dataloader = _base_.bccd.train_dataloader
val_dataloader = _base_.bccd.val_dataloader
test_dataloader = _base_.bccd.test_dataloader
train_cfg = dict(max_epochs=_base_.bccd_epochs, val_interval=4)
param_scheduler = _base_.bccd.param_scheduler
data_help = _base_.bccd.data_help
default_hooks = _base_.bccd.default_hooks
