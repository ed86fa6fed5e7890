from .forward_stop import ForwardStop
from .pre_activation_recorder import PreActivationRecorder

__all__ = ['ForwardStop', 'PreActivationRecorder']
