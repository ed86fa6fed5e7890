# The recommended block for segmentors.
_base_ = './lipschitz.py'
