# The Lipschitz loss on BCCD, on the levels of the feature pyramid.
_base_ = './lipschitz_faster_rcnn_r50_r18_bccd.py'
model = dict(distiller=dict(taps=[dict(type='ModuleOutputs', source='neck', data_idx=i) for i in range(4)]))
