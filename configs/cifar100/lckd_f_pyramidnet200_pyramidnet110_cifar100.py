# Setting (f), architecture: PyramidNet-200 (alpha 240) teaches PyramidNet-110 (alpha 84).
_base_ = './lckd_e_pyramidnet200_wrn28_4_cifar100.py'
model = dict(
    architecture=dict(cfg_path='lckd_mm::cifar100/pyramidnet110_a84_cifar100.py'),
    distiller=dict(
        student_taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn_final'],
        distill_losses=dict(loss_lipschitz=dict(loss_weight=1 / 200)),
    ),
)
# Once more at 7/8 of the epochs, to a 500th.
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, milestones=[100, 150], gamma=0.1),
    dict(type='MultiStepLR', by_epoch=True, milestones=[175], gamma=0.2),
]
