from .distiller_interface import DistillerInterface, get_distiller_interface
from .lipschitz_distiller import LipschitzDistiller

__all__ = ['DistillerInterface', 'LipschitzDistiller', 'get_distiller_interface']
