# The flagship in small, on the bundled set; the teacher is faster_rcnn_r50_digits.py.
_base_ = ['../voc/lckd_faster_rcnn.py', './_base_/small_faster_rcnn.py', './_base_/digits.py']
model = dict(
    architecture=dict(cfg_options=_base_.small_student),
    teacher=dict(cfg_options=_base_.small_teacher),
    teacher_ckpt='work_dirs/faster_rcnn_r50_digits/epoch_7.pth',
)

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
