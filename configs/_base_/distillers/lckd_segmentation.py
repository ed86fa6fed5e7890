# The recommended block for segmentors: what the screening on CamVid chose, and the confirmation used (docs/results.md). CWD reads the class
# scores.
_base_ = './lipschitz_balanced.py'
distillation = dict(distiller=dict(losses=dict(cwd=dict(taps='logits', loss_weight=15.0))))
