from .lipschitz_distill import LipschitzDistill

__all__ = ['LipschitzDistill']
