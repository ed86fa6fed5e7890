from .forward_stop import ForwardStop, stop_after_records
from .labels_recorder import LabelsRecorder
from .logits_recorder import LogitsRecorder
from .pre_activation_recorder import PreActivationRecorder

__all__ = ['ForwardStop', 'LabelsRecorder', 'LogitsRecorder', 'PreActivationRecorder', 'stop_after_records']
