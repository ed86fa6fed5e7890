# LCKD on the levels of a feature pyramid instead of the stages of the backbone: of `neck`, which puts out a tuple of maps. These
# end in a convolution, so that nothing has to be taken before an activation.
_base_ = './lckd_backbone.py'
model = dict(distiller=dict(taps=[dict(source='neck', type='ModuleOutputs', data_idx=i) for i in range(4)]))
