"""State dicts of a student alone, and of its distillation.

The algorithms of MMRazor name the student `architecture`. A checkpoint of a distillation therefore contains
``architecture.backbone.conv1.weight`` where one of the student alone contains ``backbone.conv1.weight``.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = [
    'STUDENT_PREFIX',
    'TensorWrites',
    'has_student',
    'match_student',
    'rename_keys',
    'select_student',
    'unwrap_keys',
]

STUDENT_PREFIX = 'architecture.'
# Wrappers for distributed training and weight averages add `module.`, torch.compile adds `_orig_mod.`.
_WRAPPERS = re.compile(r'^(?:(?:module|_orig_mod)\.)+|(?<=\.)_orig_mod\.')


def has_student(names: Iterable[str]) -> bool:
    """Return whether the keys of a state dict are those of a distillation.

    Args:
        names (Iterable[str]): The keys.

    Returns:
        bool: Whether a key begins with ``architecture.``.

    Example:
        >>> has_student(['architecture.fc.weight']), has_student(['fc.weight'])
        (True, False)
    """
    return any(name.startswith(STUDENT_PREFIX) for name in names)


def select_student(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the student's part of the state dict of a distillation, with the keys of the student alone.

    Args:
        state (Mapping[str, Any]): A state dict.

    Returns:
        dict[str, Any]: The tensors of the student, with the versions of its modules (``_metadata``).

    Example:
        >>> list(select_student({'architecture.fc.weight': 1, 'distiller.adapter.weight': 2}))
        ['fc.weight']
    """
    return rename_keys(state, lambda key: key[len(STUDENT_PREFIX) :] if key.startswith(STUDENT_PREFIX) else None)


def unwrap_keys(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a state dict without the prefixes of wrappers, ``module.`` and ``_orig_mod.``.

    Args:
        state (Mapping[str, Any]): A state dict.

    Returns:
        Mapping[str, Any]: The state dict itself if no key has such a prefix, else a copy.

    Example:
        >>> list(unwrap_keys({'module.backbone._orig_mod.conv.weight': 1}))
        ['backbone.conv.weight']
    """
    if not any(_WRAPPERS.search(key) for key in state):
        return state
    return rename_keys(state, lambda key: _WRAPPERS.sub('', key))


def match_student(state: Mapping[str, Any], model: nn.Module) -> Mapping[str, Any]:
    """Return a state dict with the keys that a model expects, if one of both is a distillation and the other its student alone.

    Args:
        state (Mapping[str, Any]): The state dict of a checkpoint.
        model (nn.Module): The model that receives it, without wrappers.

    Returns:
        Mapping[str, Any]: For a distillation, the weights of a student as ``architecture.*``; for another model, the student's
        part of a distillation. Otherwise the keys stay, without the prefixes of wrappers.

    Example:
        >>> distillation = nn.ModuleDict(dict(architecture=nn.ModuleDict(dict(fc=nn.Linear(1, 1)))))
        >>> list(match_student({'fc.weight': 1}, distillation))
        ['architecture.fc.weight']
        >>> list(match_student({'architecture.fc.weight': 1}, distillation['architecture']))
        ['fc.weight']
    """
    if not any('_orig_mod' in name for name, _ in model.named_modules()):
        state = unwrap_keys(state)
    children = dict(model.named_children())
    student = children.get(STUDENT_PREFIX[:-1])
    if has_student(state) == (student is not None):
        return state
    if student is None:
        return select_student(state)
    # Adapters, and the teacher in checkpoints of MMRazor, are not the student's.
    others = set(children) - {name for name, _ in student.named_children()}
    return rename_keys(state, lambda key: key if key.partition('.')[0] in others else STUDENT_PREFIX + key)


def rename_keys(state: Mapping[str, Any], rename: Callable[[str], str | None]) -> dict[str, Any]:
    """Return a copy of a state dict with other keys.

    The versions of the modules (``_metadata``) are renamed as well: by them torch, mmcv and mmdet recognize the keys of older versions.

    Args:
        state (Mapping[str, Any]): The state dict.
        rename (Callable[[str], str | None]): Returns the new key, or None for a key to be omitted.

    Returns:
        dict[str, Any]: The copy.

    Example:
        >>> list(rename_keys({'conv.weight': 1, 'fc.weight': 2}, lambda key: f'head.{key}' if key.startswith('fc.') else None))
        ['head.fc.weight']
    """
    renamed: Any = OrderedDict((new, value) for key, value in state.items() if (new := rename(key)) is not None)
    metadata = getattr(state, '_metadata', None)
    if metadata is not None:
        # The key of a module is its path without the final dot; that of the root is empty.
        paths = ((rename(f'{key}.' if key else ''), value) for key, value in metadata.items())
        renamed._metadata = OrderedDict((path.removesuffix('.'), value) for path, value in paths if path is not None)
    return renamed  # type: ignore[no-any-return]


def is_observed(key: str) -> bool:
    """Return whether a tensor tells if a checkpoint matches a model.

    Args:
        key (str): The key of the tensor in a state dict.

    Returns:
        bool: False for the counters ``num_batches_tracked``, which fit every model, and for the pixel statistics, which belong to
        the config.

    Example:
        >>> is_observed('bn1.weight'), is_observed('bn1.num_batches_tracked')
        (True, False)
    """
    return not key.endswith('num_batches_tracked') and 'data_preprocessor.' not in key


class TensorWrites:
    """Tells which tensors of a model are written after its construction, by the version counters of the tensors.

    Names and shapes in a checkpoint do not tell what is loaded: modules rename keys and resize tensors while they load.

    Args:
        model (nn.Module): The model. Its parameters and persistent buffers for which :func:`is_observed` holds are observed.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> writes = TensorWrites(model)
        >>> _ = model.load_state_dict({'bias': model.bias.detach()}, strict=False)
        >>> writes.written(), writes.untouched()
        (['bias'], ['weight'])
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before = {key: (tensor, tensor._version) for key, tensor in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        # `state_dict` may omit tensors, that of a model with LoRA for example.
        return {
            key: tensor
            for prefix, module in self._model.named_modules()
            for name, tensor in (module._parameters | module._buffers).items()
            if tensor is not None and name not in module._non_persistent_buffers_set
            if is_observed(key := f'{prefix}.{name}' if prefix else name)
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all observed tensors by key."""
        return {key: tuple(tensor.shape) for key, (tensor, _) in self._before.items()}

    def written(self) -> list[str]:
        """Return the keys of the tensors that were written or replaced."""
        untouched = set(self.untouched())
        return [key for key in self._before if key not in untouched]

    def untouched(self) -> list[str]:
        """Return the keys of the other tensors."""
        now = self._tensors()
        return [
            key
            for key, (tensor, version) in self._before.items()
            if now.get(key) is tensor and tensor._version == version
        ]
