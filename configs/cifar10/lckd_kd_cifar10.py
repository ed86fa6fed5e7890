# Soft targets with the Lipschitz term beside them: no map of the one network is compared with a map of the other.
_base_ = './lckd_cifar10.py'
logits = dict(logits=dict(type='ModuleOutputs', source='head.fc'))
model = dict(
    architecture=dict(cfg_options={'head.loss': dict(type='CrossEntropyLoss', loss_weight=0.1)}),
    distiller=dict(
        student_recorders=logits,
        teacher_recorders=logits,
        distill_losses=dict(loss_kd=dict(type='KLDivergence', tau=4, loss_weight=0.9)),
        loss_forward_mappings=dict(
            loss_kd=dict(
                preds_S=dict(from_student=True, recorder='logits'), preds_T=dict(from_student=False, recorder='logits')
            )
        ),
    ),
)
