# The authors' settings for CIFAR with the taps of a WideResNet.
_base_ = '../../_base_/distillers/published.py'
distillation = dict(
    distiller=dict(taps=['backbone.layer2.0.bn1', 'backbone.layer3.0.bn1', 'backbone.bn1'], probe_size=(32, 32))
)
distillation_hooks = dict(lipschitz_monitor=dict(interval=50))
