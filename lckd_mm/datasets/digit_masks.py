from collections.abc import Sequence

from mmrazor.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .digit_object import CLASSES


@DATASETS.register_module()
class DigitMasks(BaseSegDataset):
    """The masks of the demonstration set with the two classes background and digit.

    The mask files contain 0 for background, 1 to 10 for the digits and 255 for their blurred contours. The ten digits become
    one class, because a demonstration is too short to learn to distinguish them.

    Args:
        **kwargs: Arguments of MMSegmentation's ``BaseSegDataset``.

    Example:
        >>> DigitMasks.METAINFO['classes']
        ('background', 'digit')
    """

    METAINFO = dict(classes=('background', 'digit'), palette=[[0, 0, 0], [224, 224, 192]])

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int]:
        """Return the new label of each label in the mask files.

        Args:
            new_classes (Sequence[str], optional): Not used.

        Returns:
            dict[int, int]: Label 1 for each digit.
        """
        return dict.fromkeys(range(1, len(CLASSES) + 1), 1)
