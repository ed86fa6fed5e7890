from .decoupled_loss import DecoupledLoss
from .lipschitz_loss import LipschitzLoss
from .overhaul_loss import OverhaulLoss
from .tapwise_loss import TapwiseLoss

__all__ = ['DecoupledLoss', 'LipschitzLoss', 'OverhaulLoss', 'TapwiseLoss']
