import contextlib
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import nn

from lckd_mm.errors import ConfigTypeError, ConfigValueError, unknown_name


class CompiledNetworks:
    """A base class of a distillation whose training steps run parts of the networks through ``torch.compile``.

    A part is a child of a network: backbone, neck, head. Its ``forward`` is compiled with the recorders inside it. Everything else runs
    as it is: the losses and the assignment of targets, whose shapes differ from batch to batch, and the distiller, whose checks read the
    autograd graph.
    """

    _parts: dict[nn.Module, 'CompiledParts'] | None = None

    def compile(self, **options: Any) -> None:
        """Compile the networks for the training steps; validation and tests run without compilation.

        A compiled part gives all of its parameters a gradient, zero where the losses do not reach a parameter, and an optimizer with weight
        decay changes such a parameter. A student with parameters that the losses do not reach is therefore not compiled.

        Args:
            **options: Options of ``torch.compile``.

        Raises:
            ConfigTypeError: An option is unknown.
            ConfigValueError: ``torch.compile`` does not work with these options on this machine.
        """
        model: Any = self
        _try_options(options, next(model.teacher.parameters()).device)
        networks = {'student': model.architecture, 'teacher': model.teacher}
        if model.has_unused_parameters:
            del networks['student']
        if self._parts is None:
            # The records of the teacher are read after the student has run, in the same step.
            model.register_forward_pre_hook(lambda *_: torch.compiler.cudagraph_mark_step_begin())
        self._parts = {network: CompiledParts(network, **options) for network in networks.values()}
        names = '; '.join(f'{role}: {", ".join(self._parts[network].names)}' for role, network in networks.items())
        print_log(
            f'torch.compile applies to parts of the networks ({names}); the next iterations are slow.', logger='current'
        )

    def _compiled(self, network: nn.Module, examined: bool = False) -> contextlib.AbstractContextManager:
        """Return the context of a forward pass of a network in training.

        Args:
            network (nn.Module): The student or the teacher.
            examined (bool): Whether the graph or the version counters of this pass are examined; compilation changes both. Defaults to
                False.
        """
        if self._parts is None or examined or network not in self._parts:
            return contextlib.nullcontext()
        return self._parts[network].in_use()


class CompiledParts:
    """The compiled ``forward`` of each part of a network.

    Args:
        network (nn.Module): The network. Its parts are its children; those of a container such as ``nn.ModuleList`` are its elements.
        **options: Options of ``torch.compile``.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2))
        >>> parts = CompiledParts(network, backend='eager')
        >>> parts.names
        ['0']
        >>> with parts.in_use():
        ...     output = network(torch.ones(1, 2))
        >>> bool((output == network(torch.ones(1, 2))).all())
        True
    """

    def __init__(self, network: nn.Module, **options: Any) -> None:
        parts = list(_find_parts(network))
        self.names = [name for name, _ in parts]
        # Not the modules, so that hooks of a part itself are called outside: one of them may end the forward pass.
        self._forwards = {part: torch.compile(part.forward, **options) for _, part in parts}

    def __deepcopy__(self, memo: dict[int, Any]) -> 'CompiledParts':
        # A copy of a network is not compiled.
        return CompiledParts(nn.Module())

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Replace the ``forward`` of each part within the context."""
        originals = [(part, part.__dict__.get('forward')) for part in self._forwards]
        for part, forward in self._forwards.items():
            part.__dict__['forward'] = forward
        try:
            yield
        finally:
            for part, original in originals:
                # Activation checkpointing, too, replaces the method by an attribute.
                if original is None:
                    del part.__dict__['forward']
                else:
                    part.__dict__['forward'] = original


def _find_parts(network: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    for name, child in network.named_children():
        if isinstance(child, BaseDataPreprocessor):
            continue
        if type(child).forward is nn.Module.forward:
            yield from _find_parts(child, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', child


def _try_options(options: dict[str, Any], device: torch.device) -> None:
    """Compile a small function, so that a missing compiler is reported before training."""
    valid = list(inspect.signature(torch.compile).parameters)[1:]
    for name in options:
        if name not in valid:
            raise ConfigTypeError(unknown_name('option of `compile`', name, valid))
    backend, backends = options.get('backend', 'inductor'), torch.compiler.list_backends(exclude_tags=())
    if isinstance(backend, str) and backend not in backends:
        raise ConfigValueError(unknown_name('compile.backend', backend, backends, max_listed=20))
    try:
        torch.compile(lambda x: (2 * x).relu(), **options)(torch.ones(2, device=device))
    except Exception as error:
        # Messages of torch may list all options of inductor.
        reason = textwrap.shorten(f'{type(error).__name__}: {error}', 300, placeholder=' ...')
        raise ConfigValueError(
            f'compile={options!r} does not work on this machine ({reason}): correct the options, install what is missing, or choose '
            "another backend, 'aot_eager' for example, which needs no C++ compiler."
        ) from error
