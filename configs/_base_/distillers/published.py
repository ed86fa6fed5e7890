# The authors' settings: adapters on every tap, power iteration, squared differences, OFD.
_base_ = './lipschitz_ofd.py'
# Ten iterations are from the authors' CIFAR code. The start vector is all ones, as in their ImageNet code; their CIFAR
# code draws it uniformly.
distillation = dict(
    distiller=dict(adapters=True, losses=dict(lipschitz=dict(method='power', num_iters=10, distance='mse'))),
)
