# LCKD on the stages of a classifier's backbone, and beside it soft targets (Hinton et al., arXiv 1503.02531) of its last
# layer: no map is compared with a map. T = 4, 0.9 of their loss and, by the student's config, 0.1 of its own.
_base_ = './lckd_backbone.py'
logits = dict(logits=dict(type='ModuleOutputs', source='head.fc'))
model = dict(
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
