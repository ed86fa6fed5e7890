"""Which BNs of a network can be folded into the convolution before them, and the folded weights."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from mmcv.cnn.bricks.wrappers import Conv2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode

from ..utils.tensors import find_tensors

Pair = tuple[nn.Conv2d, _BatchNorm]

# Others may compute with a function of their weight, as ConvAWS does.
_CONVOLUTIONS = (nn.Conv2d, Conv2d, Conv2dAdaptivePadding)
_BN_FORWARDS = (_BatchNorm.forward, nn.SyncBatchNorm.forward)


class ConvolutionTrace(TorchDispatchMode):
    """A context that observes which operations read the outputs of the convolutions of a network.

    Args:
        network (nn.Module): The network, which runs within the context without a gradient.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> with torch.no_grad(), ConvolutionTrace(network) as trace:
        ...     output = network(torch.ones(1, 3, 2, 2))
        >>> trace.pairs([output]) == [(network[0], network[1])]
        True
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        # The tensors are kept, since the identity of a freed one can be used again.
        self._outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}
        self._uses: Counter[int] = Counter()
        self._bn_inputs: list[tuple[_BatchNorm, int]] = []
        self._handles = contextlib.ExitStack()

    def __enter__(self) -> 'ConvolutionTrace':
        """Register hooks on the convolutions and the BNs."""
        for module in self._network.modules():
            if isinstance(module, nn.Conv2d):
                self._handles.callback(module.register_forward_hook(self._note_output).remove)
            elif isinstance(module, _BatchNorm):
                self._handles.callback(module.register_forward_pre_hook(self._note_input).remove)
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        """Remove the hooks."""
        super().__exit__(*exception)
        self._handles.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Count the operations that read an output."""
        self._uses.update(
            {id(tensor) for tensor in find_tensors([*args, *(kwargs or {}).values()])} & set(self._outputs)
        )
        return func(*args, **(kwargs or {}))

    def _note_output(self, module: nn.Conv2d, inputs: tuple, output: Tensor) -> None:
        self._outputs[id(output)] = (module, output)

    def _note_input(self, module: _BatchNorm, inputs: tuple) -> None:
        self._bn_inputs.append((module, id(inputs[0])))

    def pairs(self, recorded: Iterable[Tensor]) -> list[Pair]:
        """Return the convolutions whose output nothing but one BN reads, each with its BN.

        Args:
            recorded (Iterable[Tensor]): Tensors that are read after the forward pass.

        Returns:
            list[tuple[nn.Conv2d, _BatchNorm]]: The pairs, in the order of the network.
        """
        kept = {id(tensor) for tensor in recorded}
        num_calls = Counter(conv for conv, _ in self._outputs.values()) + Counter(bn for bn, _ in self._bn_inputs)
        pairs = {}
        for bn, key in self._bn_inputs:
            if key not in self._outputs:
                continue
            conv = self._outputs[key][0]
            # A layer of several calls may have other neighbors in each.
            is_only_reader = self._uses[key] == 1 and key not in kept and num_calls[conv] == num_calls[bn] == 1
            if is_only_reader and _is_foldable(conv, bn):
                pairs[conv] = bn
        return list(pairs.items())


def _is_foldable(conv: nn.Conv2d, bn: _BatchNorm) -> bool:
    has_statistics = bn.running_mean is not None and bn.running_var is not None
    return is_plain(conv) and has_statistics and type(bn).forward in _BN_FORWARDS and not bn.training


def is_plain(conv: nn.Conv2d) -> bool:
    """Return whether a convolution computes with its parameters, and not with a function of them, such as a weight normalization."""
    return type(conv) in _CONVOLUTIONS and set(conv._parameters) == {'weight', 'bias'}


def fold(conv: nn.Conv2d, bn: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution that computes what it and a BN with running statistics compute, from float64.

    Example:
        >>> import torch
        >>> conv, bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4).eval()
        >>> x = torch.ones(1, 3, 2, 2)
        >>> torch.allclose(nn.functional.conv2d(x, *fold(conv, bn)), bn(conv(x)), atol=1e-6)
        True
    """
    tensors = (conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.weight, bn.bias)
    w, b, mean, variance, gamma, beta = (None if t is None else t.double() for t in tensors)
    weight, bias = fuse_conv_bn_weights(w, b, mean, variance, bn.eps, gamma, beta)  # type: ignore[arg-type]  # None is accepted
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)
