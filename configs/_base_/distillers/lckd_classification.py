# The recommended block for classifiers.
_base_ = './lipschitz.py'
