# The authors' settings: an adapter on every tap, the power iteration, squared differences, OFD beside. The ten iterations are
# those of their CIFAR code; a uniform random start vector is replaced by that of their ImageNet code, all ones.
_base_ = './lckd_ofd_backbone.py'
model = dict(
    distiller=dict(
        adapters=True,
        connectors=dict(spectral_norms=dict(method='power', n_iters=10)),
        distill_losses=dict(loss_lipschitz=dict(distance='mse')),
    )
)
