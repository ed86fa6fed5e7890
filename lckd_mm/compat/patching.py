"""The decorator :func:`patch` and the registry of all patches."""

import functools
import inspect
import os
import pkgutil
import types
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dependencies import FRAMEWORKS, STACKS, find_stacks, find_version, is_accepted
from ..errors import ConfigValueError, unknown_name

__all__ = ['DISABLE_VARIABLE', 'PATCHES', 'NumpyWith', 'Patch', 'check_disabled_names', 'has_no_gpu', 'patch']

DISABLE_VARIABLE = 'LCKD_DISABLE_PATCH'
"""Environment variable with the comma-separated names of patches that are not applied.

It is an aid for development: see `tools/dev/disable_patches.py`.
"""


@dataclass
class Patch:
    """A change to another library that is made when lckd_mm is imported.

    Args:
        name (str): Unique name.
        library (str): Import name of the patched library.
        versions (dict[str, str]): Versions that need the patch in each stack, as comma-separated comparisons. It is not applied to
            others, nor in a stack without an entry.
        issue (str): Upstream issue, ``'none known'`` if there is none.
        reason (str): What breaks without the patch.
        until (str): When the patch can be removed.
        targets (tuple[tuple[str, str], ...]): Owner (``'module'`` or ``'module:attribute'``) and name of each replaced attribute.
        make (Callable): Returns the replacement of an original. Without targets, it is called once and changes the library
            itself.
        is_needed (Callable[[], bool]): Whether this machine and this library need the patch.
    """

    name: str
    library: str
    versions: dict[str, str]
    issue: str
    reason: str
    until: str
    targets: tuple[tuple[str, str], ...]
    make: Callable[..., Any]
    is_needed: Callable[[], bool]
    is_applied: bool = False
    originals: list[Any] = field(default_factory=list, repr=False)

    def apply(self) -> None:
        """Apply the patch; does nothing if it is applied, disabled or not needed."""
        if self.is_applied or self.name in _disabled_names() or not self._matches_version() or not self.is_needed():
            return
        self.is_applied = True
        if not self.targets:
            self.make()
        for owner_name, name in self.targets:
            owner = pkgutil.resolve_name(owner_name)
            original = _get(owner, name)
            self.originals.append(original)
            _set(owner, name, self.make(original))

    @property
    def scope(self) -> str:
        """The versions for which the patch is, ``'mmcv>=2.0.0,<=2.1.0 (openmmlab), onedl-mmcv>=2.3,<3 (onedl)'`` for example."""
        if self.library not in FRAMEWORKS:
            return f'{self.library}{self.versions[STACKS[0]]}'
        names = {stack: FRAMEWORKS[self.library][stack].name for stack in self.versions}
        return ', '.join(f'{names[stack]}{accepted} ({stack})' for stack, accepted in self.versions.items())

    def _matches_version(self) -> bool:
        if self.library not in FRAMEWORKS:
            name, accepted = self.library, self.versions[STACKS[0]]
        else:
            stack = next((stack for stack in find_stacks(self.library) if stack in self.versions), None)
            if stack is None:
                return False
            name, accepted = FRAMEWORKS[self.library][stack].name, self.versions[stack]
        version = find_version(name)
        return version is not None and is_accepted(version, accepted)


PATCHES: dict[str, Patch] = {}
"""All patches by name, in the order of registration."""


def patch(
    owners: str | Sequence[str] = (),
    names: str | Sequence[str] = (),
    *,
    library: str,
    versions: str,
    onedl: str | None = None,
    issue: str,
    reason: str,
    until: str,
    is_needed: Callable[[], bool] = lambda: True,
) -> Callable[[Callable[..., Any]], Patch]:
    """Register the decorated function as a patch of its name.

    The function receives an original and returns its replacement, which gets the name and the docstring of the original. Every
    name is replaced in every owner; in a mapping, the item is replaced. Without owners, the function is called once without
    arguments.

    Args:
        owners (str | Sequence[str]): The modules (``'package.module'``) and classes (``'package.module:Class'``) that are
            patched. They are imported when the patch is applied.
        names (str | Sequence[str]): The attributes that are replaced.
        library (str): See :class:`Patch`; the same for the other arguments.
        versions (str): Versions of the stack ``openmmlab``, or of a library that both stacks have. ``''`` if the stack does not need it.
        onedl (str, optional): Versions of the stack ``onedl``, ``''`` if its library does not need the patch. Defaults to None, as
            ``versions``.
        issue (str): See :class:`Patch`.
        reason (str): See :class:`Patch`.
        until (str): See :class:`Patch`.
        is_needed (Callable[[], bool]): See :class:`Patch`. Defaults to always.

    Returns:
        Callable: The decorator, which returns the :class:`Patch`.
    """
    targets = tuple((owner, name) for owner in _as_tuple(owners) for name in _as_tuple(names))

    ranges = {'openmmlab': versions, 'onedl': versions if onedl is None else onedl}
    by_stack = {stack: accepted for stack, accepted in ranges.items() if accepted}

    def register(make: Callable[..., Any]) -> Patch:
        name = make.__name__
        assert name not in PATCHES, f'there are two patches named {name!r}'
        PATCHES[name] = Patch(name, library, by_stack, issue, reason, until, targets, make, is_needed)
        return PATCHES[name]

    return register


class NumpyWith(types.ModuleType):
    """numpy with the removed names that one module uses; numpy itself stays as it is.

    Args:
        **names: The names and their values.

    Example:
        >>> np = NumpyWith(float=float)
        >>> np.zeros(2, dtype=np.float)
        array([0., 0.])
    """

    def __init__(self, **names: Any) -> None:
        super().__init__('numpy')
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        """Return a name of numpy."""
        return getattr(np, name)


def check_disabled_names() -> None:
    """Check that every name in ``LCKD_DISABLE_PATCH`` is that of a patch.

    Raises:
        ConfigValueError: A name is unknown.
    """
    for name in _disabled_names() - set(PATCHES):
        raise ConfigValueError(unknown_name(f'patch in the environment variable {DISABLE_VARIABLE}', name, PATCHES))


def has_no_gpu() -> bool:
    """Return whether mmengine trains on the CPU of this machine."""
    from mmengine.device import get_device

    return get_device() == 'cpu'


def _disabled_names() -> set[str]:
    return {name.strip() for name in os.environ.get(DISABLE_VARIABLE, '').split(',')} - {''}


def _as_tuple(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _get(owner: Any, name: str) -> Any:
    """Return an attribute or an item, None if it does not exist."""
    return owner.get(name) if isinstance(owner, MutableMapping) else getattr(owner, name, None)


def _set(owner: Any, name: str, replacement: Any) -> None:
    """Replace an attribute or an item; a static method stays one."""
    if isinstance(owner, MutableMapping):
        owner[name] = replacement
        return
    original = inspect.getattr_static(owner, name, None)
    if inspect.isfunction(replacement):
        functools.update_wrapper(replacement, getattr(owner, name))
    setattr(owner, name, staticmethod(replacement) if isinstance(original, staticmethod) else replacement)
