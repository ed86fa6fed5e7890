# The Lipschitz loss (LCKD) on the four stages of a backbone, each recorded before its last ReLU.
# Any script of mmengine that reads this file registers the components of lckd_mm.
custom_imports = dict(imports=['lckd_mm'], allow_failed_imports=False)
distillation = dict(
    _scope_='mmrazor',
    type='LipschitzDistill',
    distiller=dict(
        type='LipschitzDistiller',
        taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4'],
        losses=dict(
            lipschitz=dict(
                # Five products are the authors' number for ImageNet. Lanczos with five has a relative
                # error below 1e-6 on all benchmark shapes (docs/performance.md).
                method='lanczos',
                num_iters=5,
                # Paper: the weight of a pair is halved for each pair after it.
                decay=0.5,
                # The log distance is independent of the scale of the features. Its gradient is bounded while the norms
                # are far apart, unlike that of the relative distance (docs/experiments.md).
                distance='log',
                loss_weight=0.5,
            )
        ),
    ),
)
distillation_hooks = dict(
    lipschitz_monitor=dict(type='mmrazor.LipschitzMonitorHook', interval=10),
    class_count=dict(type='mmrazor.ClassCountHook'),
    annotation_check=dict(type='mmrazor.AnnotationCheckHook'),
    checkpoint_match=dict(type='mmrazor.CheckpointMatchHook'),
    data_size=dict(type='mmrazor.DataSizeHook'),
    sample_errors=dict(type='mmrazor.SampleErrorHook'),
    metric_check=dict(type='mmrazor.MetricCheckHook'),
    finite_loss=dict(type='mmrazor.FiniteLossHook'),
)
