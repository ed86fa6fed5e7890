# The recommended block for detectors.
_base_ = './lipschitz_balanced.py'
