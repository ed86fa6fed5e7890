# Setting (e), architecture: PyramidNet-200 (alpha 240) teaches WRN-28-4.
_base_ = './lckd_b_wrn28_4_wrn28_2_cifar100.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::cifar100/wrn28_4_cifar100.py'),
    teacher=dict(cfg_path='lckd_mm::cifar100/pyramidnet200_a240_cifar100.py'),
    teacher_ckpt='work_dirs/pyramidnet200_a240_cifar100/epoch_200.pth',
    distiller=dict(
        teacher_taps=['backbone.layer2.0.bn2', 'backbone.layer3.0.bn2', 'backbone.bn_final'],
        distill_losses=dict(loss_lipschitz=dict(loss_weight=4 / 200)),
    ),
)
train_dataloader = dict(batch_size=64)
# Once more at 7/8 of the epochs, to a 1000th.
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[100, 150, 175], gamma=0.1)]
auto_scale_lr = dict(base_batch_size=64)
