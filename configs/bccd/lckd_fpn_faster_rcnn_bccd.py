# LCKD on the levels of the feature pyramid instead of the stages.
_base_ = './lckd_faster_rcnn_bccd.py'
model = dict(distiller=dict(taps=[dict(source='neck', type='ModuleOutputs', data_idx=i) for i in range(4)]))
