from typing import Any, Dict

from mmrazor.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .digit_scenes import CLASSES


@DATASETS.register_module()
class DigitMasks(BaseSegDataset):
    """The masks of the demonstration set as figure and ground: which digit it is takes longer to learn than a demonstration has.

    Masks hold 0 for the background, 1 to 10 for the digits and 255 for their blurred contours; the digits become one class.

    Args:
        **kwargs: As in mmsegmentation's ``BaseSegDataset``.
    """

    METAINFO = dict(classes=('background', 'digit'), palette=[[0, 0, 0], [224, 224, 192]])

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> Dict[int, int]:
        """What each digit's label becomes."""
        return dict.fromkeys(range(1, len(CLASSES) + 1), 1)
