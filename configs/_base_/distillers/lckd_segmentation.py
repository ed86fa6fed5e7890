# The recommended block for segmentors: what the screening on CamVid chose, and the confirmation used (docs/results.md). CWD reads the class
# scores. On the test images, LCKD adds -0.08 and -0.35 points to CWD (no difference could be shown). On weakly corrupted images, it takes
# 2.3 points from it. For CWD alone, set model.distiller.losses.lipschitz, default_hooks.lipschitz_balance and
# default_hooks.lipschitz_monitor to None.
_base_ = './lipschitz_balanced.py'
distillation = dict(distiller=dict(losses=dict(cwd=dict(taps='logits', loss_weight=15.0))))
