_base_ = ['../voc/faster_rcnn_r18_fpn_voc0712.py', './_base_/small_faster_rcnn.py', './_base_/digits.py']
model = _base_.small_student

train_dataloader = _base_.digits.train_dataloader
val_dataloader = _base_.digits.val_dataloader
test_dataloader = _base_.digits.test_dataloader
val_evaluator = _base_.digits.evaluator
test_evaluator = _base_.digits.evaluator
train_cfg = dict(max_epochs=_base_.digits_epochs)
optim_wrapper = _base_.digits.optim_wrapper
param_scheduler = _base_.digits.param_scheduler
auto_scale_lr = dict(base_batch_size=8)
default_hooks = _base_.digits.default_hooks
data_help = _base_.digits.data_help
randomness = dict(seed=0)
