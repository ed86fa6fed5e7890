# The Lipschitz loss on the levels of the feature pyramid: Faster R-CNN R50-FPN teaches Faster R-CNN R18-FPN on COCO.
_base_ = ['./lckd_faster_rcnn_r50_r18_coco.py']
model = dict(
    distiller=dict(
        taps=[dict(type='ModuleOutputs', source='neck', data_idx=i) for i in range(4)],
        losses=dict(_delete_=True, lipschitz=dict()),
    )
)
