# The recommended block for classifiers.
_base_ = './lipschitz_balanced.py'
