from .lipschitz_loss import LipschitzLoss

__all__ = ['LipschitzLoss']
