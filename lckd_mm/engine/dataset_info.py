"""Properties of a training data set that hooks compare with the model and with the annotations."""

from collections.abc import Sequence
from typing import Any

# The ignored label of MMSegmentation's data sets; MMDetection's panoptic data sets do not state theirs.
_DEFAULT_IGNORE_INDEX = 255


def class_names(dataset: Any) -> Sequence[str] | None:
    """Return the names of the classes of a data set.

    Args:
        dataset (Any): A data set, or None.

    Returns:
        Sequence[str] | None: The names; None if the data set does not state them.

    Example:
        >>> from types import SimpleNamespace
        >>> class_names(SimpleNamespace(metainfo=dict(classes=('cat', 'dog'))))
        ('cat', 'dog')
    """
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def inner_datasets(dataset: Any) -> list[Any]:
    """Return the data sets inside wrappers that repeat, concatenate or mix data sets.

    Args:
        dataset (Any): A data set, which may be a wrapper.

    Returns:
        list[Any]: The innermost data sets; the data set itself if it is no wrapper.

    Example:
        >>> from types import SimpleNamespace
        >>> inner_datasets(SimpleNamespace(datasets=['voc07', SimpleNamespace(dataset='voc12')]))
        ['voc07', 'voc12']
    """
    parts: Sequence[Any] = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    inner = [innermost for part in parts if part is not None for innermost in inner_datasets(part)]
    return inner or [dataset]


def ignored_label(dataset: Any) -> int:
    """Return the label of ignored pixels in the masks of a data set.

    Args:
        dataset (Any): A data set, which may be a wrapper.

    Returns:
        int: The ``ignore_index`` of the first inner data set that states it, otherwise 255.

    Example:
        >>> from types import SimpleNamespace
        >>> ignored_label(SimpleNamespace(dataset=SimpleNamespace(ignore_index=0)))
        0
    """
    indices = (inner.ignore_index for inner in inner_datasets(dataset) if hasattr(inner, 'ignore_index'))
    return next(indices, _DEFAULT_IGNORE_INDEX)
