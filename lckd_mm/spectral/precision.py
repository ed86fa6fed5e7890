"""Matrix products in full float32."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch


@contextlib.contextmanager
def exact_float32(device_type: str) -> Iterator[None]:
    """Switch off autocast and the TF32 and bfloat16 products that a user may have allowed for convolutions.

    Args:
        device_type (str): ``'cpu'`` or ``'cuda'``.
    """
    backends: list[Any] = [
        backend
        for backend in (torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, 'matmul', None))
        if hasattr(backend, 'fp32_precision')
    ]
    # Each backend is saved separately, because torch.get_float32_matmul_precision() raises an error where the backends
    # differ. Before torch 2.9 it is the only interface.
    precisions = [backend.fp32_precision for backend in backends]
    global_precision = None if backends else torch.get_float32_matmul_precision()
    try:
        for backend in backends:
            backend.fp32_precision = 'ieee'
        if global_precision is not None:
            torch.set_float32_matmul_precision('highest')
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, precisions):
            backend.fp32_precision = precision
        if global_precision is not None:
            torch.set_float32_matmul_precision(global_precision)
