"""What a checkpoint has loaded into a model, as sentences."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from lckd_mm.state_dicts import STUDENT_PREFIX, TensorWrites, is_observed


class LoadedTensors:
    """Compares the tensors of a model with those of a checkpoint that was loaded into it.

    In a distillation the tensors are those of the student, since the adapters are new in most trainings. Keys are shown as in
    the student alone.

    Args:
        writes (TensorWrites): The writes since the time before loading.
        state (Mapping[str, Any]): The loaded state dict, with the keys of the model.
        model (nn.Module): The model.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> writes, state = TensorWrites(model), {'bias': model.bias.detach()}
        >>> _ = model.load_state_dict(state, strict=False)
        >>> loaded = LoadedTensors(writes, state, model)
        >>> loaded.counts, loaded.differences, loaded.is_nothing
        ('1 of the 2 tensors of the Linear', '1 (weight) are missing in the file', True)
    """

    def __init__(self, writes: TensorWrites, state: Mapping[str, Any], model: nn.Module) -> None:
        student = dict(model.named_children()).get(STUDENT_PREFIX[:-1])
        self._prefix = '' if student is None else STUDENT_PREFIX
        self._model = model if student is None else student
        self._name = type(model).__name__ if student is None else 'student'
        self._teacher = None if student is None else getattr(model, 'teacher', None)
        self._in_file = {
            key.removeprefix(self._prefix): tuple(value.shape)
            for key, value in state.items()
            if isinstance(value, Tensor) and is_observed(key)
        }
        self._in_model = self._students(writes.shapes())
        self.missing = [key for key in self._students(writes.untouched()) if self._shape_in_file(key) is None]
        self.mismatched = [key for key in self._students(writes.untouched()) if key not in self.missing]
        self.loaded = list(self._students(writes.written()))

    def _students(self, keys: Iterable[str] | Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        shapes = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, ())
        return {key.removeprefix(self._prefix): shape for key, shape in shapes.items() if key.startswith(self._prefix)}

    def _shape_in_file(self, key: str) -> tuple[int, ...] | None:
        """Return the shape in the file if it is another one than in the model."""
        shape = self._in_file.get(key)
        return shape if shape != self._in_model[key] else None

    @property
    def is_nothing(self) -> bool:
        """Whether no weight is loaded. Vectors do not count: a bias fits all models with the same number of classes."""
        weights = [key for key, shape in self._in_model.items() if len(shape) > 1] or list(self._in_model)
        return bool(weights) and not set(weights) & set(self.loaded)

    @property
    def is_complete(self) -> bool:
        """Whether all tensors are loaded."""
        return not self.missing and not self.mismatched

    @property
    def counts(self) -> str:
        """The number of loaded tensors."""
        return f'{len(self.loaded)} of the {len(self._in_model)} tensors of the {self._name}'

    @property
    def differences(self) -> str:
        """The number and the names of the tensors that are not loaded."""
        missing = f'{list_keys(self.missing)} are missing in the file' if self.missing else ''
        return '; '.join(filter(None, (self.mismatch, missing)))

    @property
    def mismatch(self) -> str:
        """The number and the names of the tensors of another shape, empty if there are none."""
        if not self.mismatched:
            return ''
        key = self.mismatched[0]
        shapes = f'{self._in_file[key]} in the file, {self._in_model[key]} in the model'
        return f'{list_keys(self.mismatched)} have another shape ({key}: {shapes})'

    @property
    def content(self) -> str:
        """The number and the names of the tensors in the file."""
        return list_keys(self._in_file) if self._in_file else 'no tensors'

    @property
    def is_teacher(self) -> bool:
        """Whether the file fits the teacher, and not the student."""
        return not self.is_complete and self._teacher is not None and self._share(self._teacher) == 1

    def part(self) -> str | None:
        """Return the name of the child of the model whose keys the file contains without a prefix, ``'backbone'`` for example."""
        shares = {name: self._share(child) for name, child in self._model.named_children()}
        best = max(shares, key=shares.__getitem__, default=None)
        # A pretrained backbone of another width or depth fits by chance in a few tensors.
        return f'{self._prefix}{best}' if best is not None and shares[best] > 0.5 else None

    def _share(self, module: nn.Module) -> float:
        """Return the share of a module's tensors that the file contains with their name and shape."""
        shapes = TensorWrites(module).shapes()
        return sum(self._in_file.get(key) == shape for key, shape in shapes.items()) / max(len(shapes), 1)


def list_keys(keys: Iterable[str], max_listed: int = 3) -> str:
    """Return the number of keys and the first of them.

    Args:
        keys (Iterable[str]): The keys.
        max_listed (int): Maximum number of listed keys. Defaults to 3.

    Returns:
        str: Number and keys.

    Example:
        >>> list_keys(['a', 'b', 'c'], max_listed=2)
        '3 (a, b, ...)'
    """
    keys = list(keys)
    return f'{len(keys)} ({", ".join(keys[:max_listed])}{", ..." if len(keys) > max_listed else ""})'
