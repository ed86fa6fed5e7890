r"""Which formulation computes the spectral norms of a set of pairs, chosen from their shapes and the device.

All formulations give the same value and gradient; only the order of the work differs:

- A product with :math:`T = F_1 F_2^\top / N` either goes *through the factors*, at 2 N (C1 + C2) flops and one read of
  both maps, or through T *formed* once, at 2 N C1 C2 flops, and then reads C1 C2 numbers.
- The images go in *chunks*. While a chunk's maps stay in the cache, the products after the first do not wait for
  memory; but each chunk pays for its calls, which is what counts where maps are small.

The model adds up bytes over bandwidth, flops over rate, and calls times their cost, and takes the least.
"""

import dataclasses
import functools
from typing import Tuple


@dataclasses.dataclass(frozen=True)
class Machine:
    """What the model knows of a device.

    Attributes:
        cache_bytes: Maps of a chunk that fit are read at ``cache_bandwidth`` from the second product on.
        cache_bandwidth: Bytes per second of a batched product with rows, maps in the cache.
        memory_bandwidth: The same, maps in memory.
        flops: Per second, forming T.
        seconds_per_call: Of a small tensor operation.
    """

    cache_bytes: float
    cache_bandwidth: float
    memory_bandwidth: float
    flops: float
    seconds_per_call: float


# CPU: measured on 2 cores of an AMD EPYC (Zen 3, 32 MB of L3, shared) with tools/analysis_tools/benchmark_spectral.py
# --constants, which prints them for any machine.
# CUDA: an H200's data sheet and the usual cost of a launch, not measured. Whole batches are streamed there.
MACHINES = {
    'cpu': Machine(20e6, 45e9, 25e9, 100e9, 8e-6),
    'cuda': Machine(4e9, 4e12, 4e12, 50e12, 6e-6),
}

# Small operations of one step of the solver (two products, two normalisations) and of a chunk besides: counted in
# solvers.py and operator.py.
_CALLS_PER_STEP = 24
_CALLS_PER_CHUNK = 30

# Beyond the cache a larger chunk saves calls, but holds pooled maps: glibc hands allocations above 32 MB back to the
# system each time, and a fresh page costs more than reading it (measured: 27 ms against 3 ms for 64 MB).
_LARGEST_CHUNK = 32e6


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to go about it.

    Attributes:
        images_per_chunk: Images solved at a time.
        formed: For each pair, whether its T is formed.
    """

    images_per_chunk: int
    formed: Tuple[bool, ...]


@functools.lru_cache(maxsize=256)
def make_plan(
    pairs: Tuple[Tuple[int, int, int], ...],
    batch: int,
    method: str,
    n_iters: int,
    element_size: int,
    device_type: str,
) -> Plan:
    """Choose a plan.

    Args:
        pairs (Tuple[Tuple[int, int, int], ...]): (C1, C2, N) of each pair, N after pooling.
        batch (int): Images.
        method (str): ``'svd'`` decomposes one formed matrix at a time, which leaves nothing to choose.
        n_iters (int): Products with T and with its transpose.
        element_size (int): Bytes of a number, after conversion: 4 or 8.
        device_type (str): ``'cpu'`` or ``'cuda'``; other devices are taken for the latter.

    Returns:
        Plan: The cheapest one by the model.
    """
    if method == 'svd':
        return Plan(1, (False,) * len(pairs))
    machine = MACHINES.get(device_type, MACHINES['cuda'])
    # Under the power iteration a gradient doubles the products.
    n_products = 2 * n_iters * (2 if method == 'power' else 1)
    largest = max(n * (c1 + c2) * element_size for c1, c2, n in pairs)
    plans = []
    for images in range(1, batch + 1):
        if images > 1 and images * largest > max(machine.cache_bytes, _LARGEST_CHUNK):
            break
        costs = [_seconds(machine, pair, images, n_products, element_size) for pair in pairs]
        calls = len(pairs) * (_CALLS_PER_CHUNK + _CALLS_PER_STEP * n_products / 2)
        seconds = sum(map(min, costs)) + calls * machine.seconds_per_call
        formed = tuple(with_formed < through_factors for through_factors, with_formed in costs)
        plans.append((seconds * -(-batch // images), images, formed))
    _, images, formed = min(plans)
    return Plan(images, formed)


def _seconds(
    machine: Machine, pair: Tuple[int, int, int], images: int, n_products: int, element_size: int
) -> Tuple[float, float]:
    """Of all products of one chunk: through the factors, and through T with the forming of it.

    The products that the gradient needs besides are the same for both.
    """
    c1, c2, n = pair
    factored = _read(machine, images * n * (c1 + c2) * element_size, n_products)
    forming = images * 2 * n * c1 * c2 / machine.flops
    return factored, forming + _read(machine, images * c1 * c2 * element_size, n_products)


def _read(machine: Machine, n_bytes: float, times: int) -> float:
    bandwidth = machine.cache_bandwidth if n_bytes <= machine.cache_bytes else machine.memory_bandwidth
    return n_bytes * times / bandwidth


def describe(plan: Plan) -> str:
    """A few words for a table: ``'8 images, factored'``."""
    kinds = sorted({'formed' if formed else 'factored' for formed in plan.formed})
    return f'{plan.images_per_chunk} image{"s" * (plan.images_per_chunk > 1)}, {" and ".join(kinds)}'
