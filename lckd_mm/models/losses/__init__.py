from .lipschitz_loss import LipschitzLoss
from .overhaul_loss import OverhaulLoss

__all__ = ['LipschitzLoss', 'OverhaulLoss']
