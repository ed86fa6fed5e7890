# The Lipschitz loss on the first four levels of a feature pyramid. They end in a convolution, so no ReLU is excluded.
_base_ = './lipschitz.py'
distillation = dict(
    distiller=dict(taps=[dict(type='ModuleOutputs', source='neck', data_idx=i) for i in range(4)]),
)
