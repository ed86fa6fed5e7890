# Soft targets (Hinton et al., arXiv 1503.02531) of a classifier's last layer: with T = 4, 0.9 of their loss and, by the
# student's config, 0.1 of its own. What LCKD is compared with.
model = dict(
    _scope_='mmrazor',
    type='LipschitzDistill',
    distiller=dict(
        type='LipschitzDistiller',
        student_recorders=dict(logits=dict(type='ModuleOutputs', source='head.fc')),
        teacher_recorders=dict(logits=dict(type='ModuleOutputs', source='head.fc')),
        distill_losses=dict(loss_kd=dict(type='KLDivergence', tau=4, loss_weight=0.9)),
        loss_forward_mappings=dict(
            loss_kd=dict(
                preds_S=dict(from_student=True, recorder='logits'), preds_T=dict(from_student=False, recorder='logits')
            )
        ),
    ),
)
