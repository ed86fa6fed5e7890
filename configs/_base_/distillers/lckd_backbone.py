# LCKD on the four stages of a backbone, before their last ReLU, in any detector, segmentor or classifier that names them
# backbone.layer1 ... layer4. Other taps: model = dict(distiller=dict(taps=[...])); lckd_mm must be imported, which
# its tools do.
model = dict(
    _scope_='mmrazor',
    type='LipschitzDistill',
    distiller=dict(
        type='LipschitzDistiller',
        taps=['backbone.layer1', 'backbone.layer2', 'backbone.layer3', 'backbone.layer4'],
        # Five products: the authors' number on ImageNet, and with Lanczos exact to 3e-6 before the ReLU.
        connectors=dict(spectral_norms=dict(type='SpectralNormConnector', method='lanczos', n_iters=5)),
        # The paper's decay. The log distance is free of the features' scale and, unlike the relative one, bounded in its
        # gradient while the norms are far apart, as at the start; measured in docs/benchmarks.md.
        distill_losses=dict(loss_lipschitz=dict(type='LipschitzLoss', loss_weight=0.5, decay=0.5, distance='log')),
        loss_forward_mappings=dict(
            loss_lipschitz=dict(
                student=dict(from_student=True, recorder='taps', connector='spectral_norms'),
                teacher=dict(from_student=False, recorder='taps', connector='spectral_norms'),
            )
        ),
    ),
)
custom_hooks = [dict(type='mmrazor.LipschitzMonitorHook', interval=10)]
