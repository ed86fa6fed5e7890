"""Comparison of the numbers of classes of a model's heads with the classes of a data set."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

__all__ = ['ClassHead', 'class_count_problem', 'class_heads', 'validation_count_problem']

# Parts of a module name. A region proposal network distinguishes objects from background. An auxiliary semantic head of a
# detector reads masks of another data set, COCO-Stuff for example. Identities are the classes of re-identification.
_OTHER_CLASSES = ('rpn', 'semantic_head', 'reid', 'track')
# Head classes whose count is no property of the data set: boundaries, depth, and classes that a text names.
_OTHER_CLASS_TYPES = ('RPN', 'STDCHead', 'Depth', 'ReID', 'GroundingDINO', 'VLFusion', 'SideAdapterCLIP')
# MMPretrain evaluates some of its models of ImageNet-21k, which are published with two numbers of classes, on ImageNet-1k.
_IMAGENET_1K, _IMAGENET_21K = 1000, (21841, 21843)


class ClassHead(NamedTuple):
    """A head that distinguishes the classes of a data set.

    Attributes:
        name: Name of the module, ``'roi_head.bbox_head.0'`` for example.
        type: Name of its class.
        num_classes: Its number of classes.
        num_things: Its number of countable classes, if it distinguishes things from stuff.
        num_stuff: Its number of classes without instances, if it distinguishes things from stuff.
        out_channels: Its number of output channels, if it states one. A binary segmentation has one.
    """

    name: str
    type: str
    num_classes: int
    num_things: int | None = None
    num_stuff: int | None = None
    out_channels: int | None = None


def class_heads(model: nn.Module) -> Iterator[ClassHead]:
    """Find the heads whose number of classes is a property of the data set.

    Heads in lists are included, those of a Cascade R-CNN for example. Heads for other classes are not: region proposals,
    class-agnostic masks, boundaries, depth, identities, and classes that a text names.

    Args:
        model (nn.Module): A model.

    Yields:
        ClassHead: A head.

    Example:
        >>> model = nn.Module()
        >>> model.bbox_head = nn.ModuleList([nn.Module()])
        >>> model.bbox_head[0].num_classes = 20
        >>> list(class_heads(model))
        [ClassHead(name='bbox_head.0', type='Module', num_classes=20, num_things=None, num_stuff=None, out_channels=None)]
    """
    if hasattr(model, 'language_model'):
        # The classes of an open vocabulary are the words of a text.
        return
    for name, module in model.named_modules():
        num_classes, out_channels = _count(module, 'num_classes'), _count(module, 'out_channels')
        if num_classes is None or 'head' not in _attribute(name):
            continue
        things, stuff = _count(module, 'num_things_classes'), _count(module, 'num_stuff_classes')
        # MMSegmentation's heads ignore these two, which have a default, and are the ones that state their output channels.
        is_panoptic = things is not None and stuff is not None and out_channels is None
        if is_panoptic:
            yield ClassHead(name, type(module).__name__, num_classes, things, stuff)
        elif _is_classifier(name, module):
            yield ClassHead(name, type(module).__name__, num_classes, out_channels=out_channels)


def class_count_problem(heads: Sequence[ClassHead], metainfo: Mapping[str, Any]) -> str | None:
    """Compare heads with the classes of their data set.

    Args:
        heads (Sequence[ClassHead]): The heads.
        metainfo (Mapping[str, Any]): The ``metainfo`` of the data set. Heads are accepted if it states no classes.

    Returns:
        str | None: A sentence with the head, the two numbers and the fix; None if all heads match.

    Example:
        >>> heads = [ClassHead('decode_head', 'FCNHead', 19)]
        >>> class_count_problem(heads, dict(classes=['road', 'car']))[:78]
        'decode_head has num_classes=19, but the training data have 2 classes (road, ca'
        >>> class_count_problem(heads, dict(classes=range(19))) is None
        True
    """
    classes = metainfo.get('classes')
    if classes is None:
        return None
    things, stuff = (metainfo.get(key) for key in ('thing_classes', 'stuff_classes'))
    numbers = None if things is None or stuff is None else (len(things), len(stuff))
    wrong = [head for head in heads if not _matches(head, len(classes), numbers)]
    if not wrong:
        return None
    head, others = wrong[0], [head.name for head in wrong[1:]]
    also = f', and correct {", ".join(others)} likewise' if others else ''
    names = _abbreviate(classes)
    if head.num_things is not None:
        expected = '' if numbers is None else f', {numbers[0]} things and {numbers[1]} stuff'
        counts = (
            'num_things_classes and num_stuff_classes to numbers that add up to ' + str(len(classes))
            if numbers is None
            else f'num_things_classes={numbers[0]} and num_stuff_classes={numbers[1]}'
        )
        return (
            f'{head.name} has num_things_classes={head.num_things} and num_stuff_classes={head.num_stuff}, but the training '
            f'data have {len(classes)} classes{expected} ({names}): set {counts}{also}, or correct the classes in the '
            'metainfo of the data set.'
        )
    count = len(classes) if numbers is None else numbers[0]
    kind = 'classes' if numbers is None else f'classes, {count} of them things'
    return (
        f'{head.name} has num_classes={head.num_classes}, but the training data have {len(classes)} {kind} ({names}): set '
        f'{head.name}.num_classes={count}{also}, or correct the classes in the metainfo of the data set.'
    )


def validation_count_problem(validation_classes: Sequence[str] | None, classes: Sequence[str] | None) -> str | None:
    """Compare the number of classes in the validation data with the training data.

    Args:
        validation_classes (Sequence[str], optional): The classes of the validation data.
        classes (Sequence[str], optional): The classes of the training data.

    Returns:
        str | None: A sentence with the two numbers and the fix; None if they are equal, or if one is not stated.

    Example:
        >>> validation_count_problem(['cat', 'dog'], ['cat'])[:82]
        'the validation data have 2 classes (cat, dog), but the training data have 1 (cat):'
    """
    if validation_classes is None or classes is None or len(validation_classes) == len(classes):
        return None
    return (
        f'the validation data have {len(validation_classes)} classes ({_abbreviate(validation_classes)}), but the '
        f'training data have {len(classes)} ({_abbreviate(classes)}): use the same metainfo for both, or folders of '
        'the same classes.'
    )


def _matches(head: ClassHead, num_classes: int, numbers: tuple[int, int] | None) -> bool:
    if head.num_things is not None and head.num_stuff is not None:
        if head.num_things + head.num_stuff != num_classes:
            return False
        # A head with a single kind does not distinguish things from stuff.
        return numbers is None or 0 in (head.num_things, head.num_stuff) or numbers == (head.num_things, head.num_stuff)
    if head.out_channels == 1 and num_classes <= 2 and head.num_classes <= 2:
        # One channel is the probability of the foreground, with or without the background among the classes.
        return True
    if num_classes == _IMAGENET_1K and head.num_classes in _IMAGENET_21K:
        return True
    return head.num_classes == num_classes or (numbers is not None and head.num_classes == numbers[0])


def _is_classifier(name: str, module: nn.Module) -> bool:
    kind = type(module).__name__
    return not (
        any(part in name for part in _OTHER_CLASSES)
        or any(part in kind for part in _OTHER_CLASS_TYPES)
        or getattr(module, 'class_agnostic', False)
        or not getattr(module, 'with_cls', True)
    )


def _attribute(name: str) -> str:
    # The elements of a list of heads are named by their position.
    return next((part for part in reversed(name.split('.')) if not part.isdigit()), '')


def _count(module: nn.Module, attribute: str) -> int | None:
    value = getattr(module, attribute, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _abbreviate(names: Sequence[str], max_listed: int = 4) -> str:
    return ', '.join(map(str, names[:max_listed])) + (', ...' if len(names) > max_listed else '')
