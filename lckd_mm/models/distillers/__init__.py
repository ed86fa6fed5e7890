from .lipschitz_distiller import LipschitzDistiller

__all__ = ['LipschitzDistiller']
