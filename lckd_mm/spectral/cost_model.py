r"""Which formulation computes the spectral norms of a set of pairs, chosen from their shapes and the device.

All formulations give the same value and gradient; only the order of the work differs:

- A product with :math:`T = F_1 F_2^\top / N` either goes *through the factors*, at 2 N (C1 + C2) flops and one read of
  both maps, or through T *formed* once, at 2 N C1 C2 flops, and then reads C1 C2 numbers.
- The images go in *chunks*. While a chunk's maps stay in the cache, the products after the first do not wait for
  memory; but each chunk pays for its calls, which is what counts where maps are small.
- The pairs of a chunk are solved *jointly*, one set of calls for all of them, or one after the other, which needs less
  cache.

The model adds up bytes over bandwidth, flops over rate, and calls times their cost, and takes the least.
"""

import dataclasses
import functools
import itertools
from typing import Sequence, Tuple

import torch


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


# CPU: measured on 2 cores of an AMD EPYC (Zen 3, 32 MB of L3) with tools/analysis_tools/benchmark_spectral.py
# --constants, which prints these five for any machine. The cache is shared, so half of it is counted on.
# CUDA: the data sheet of an H200 and the usual cost of a launch, not measured. Whole batches are streamed there.
MACHINES = {
    'cpu': Machine(16e6, 60e9, 35e9, 100e9, 6e-6),
    'cuda': Machine(4e9, 4e12, 4e12, 50e12, 6e-6),
}

# Calls of one of the solver's steps (two products, two orthogonalisations) that are shared by joint pairs, and those of
# each pair: counted in solvers.py and operator.py.
_SHARED_CALLS = 30
_CALLS_PER_PAIR = 10


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to go about it.

    Attributes:
        images_per_chunk: Images solved at a time.
        joint: Whether the pairs of a chunk are solved together.
        formed: For each pair, whether its T is formed.
    """

    images_per_chunk: int
    joint: bool
    formed: Tuple[bool, ...]


@functools.lru_cache(maxsize=256)
def make_plan(
    pairs: Tuple[Tuple[int, int, int], ...], batch: int, n_iters: int, element_size: int, device_type: str
) -> Plan:
    """Choose a plan.

    Args:
        pairs (Tuple[Tuple[int, int, int], ...]): (C1, C2, N) of each pair, N after pooling.
        batch (int): Images.
        n_iters (int): Products with T and with its transpose.
        element_size (int): Bytes of a number, after conversion: 4 or 8.
        device_type (str): ``'cpu'`` or ``'cuda'``; other devices are taken for the latter.

    Returns:
        Plan: The cheapest one by the model; of equals, the one with the smallest chunks.
    """
    machine = MACHINES.get(device_type, MACHINES['cuda'])
    plans = []
    sizes = [n * (c1 + c2) * element_size for c1, c2, n in pairs]
    for joint in (False, True) if len(pairs) > 1 else (False,):
        # Chunks beyond the cache win nothing but memory to hold their pooled maps.
        largest = max(1, int(machine.cache_bytes / (sum(sizes) if joint else max(sizes))))
        for images in {min(batch, largest), min(batch, max(1, largest // 2)), 1}:
            costs = [_pair_costs(machine, pair, images, n_iters, element_size) for pair in pairs]
            formed = tuple(cost_formed < cost_factored for cost_factored, cost_formed in costs)
            n_solves = 1 if joint else len(pairs)
            calls = n_iters * (_SHARED_CALLS * n_solves + _CALLS_PER_PAIR * len(pairs))
            in_chunk = sum(map(min, costs)) + calls * machine.seconds_per_call
            plans.append((in_chunk * -(-batch // images), images, joint, formed))
    _, images, joint, formed = min(plans)
    return Plan(images, joint, formed)


def _pair_costs(
    machine: Machine, pair: Tuple[int, int, int], images: int, n_iters: int, element_size: int
) -> Tuple[float, float]:
    """Seconds of all products of one chunk: through the factors, and through T with the forming of it."""
    c1, c2, n = pair
    # The products through the factors with the singular vectors, for the gradient, are common to both.
    factored = _read(machine, images * n * (c1 + c2) * element_size, 2 * n_iters)
    forming = images * 2 * n * c1 * c2 / machine.flops
    return factored, forming + _read(machine, images * c1 * c2 * element_size, 2 * n_iters)


def _read(machine: Machine, n_bytes: float, times: int) -> float:
    bandwidth = machine.cache_bandwidth if n_bytes <= machine.cache_bytes else machine.memory_bandwidth
    return n_bytes * times / bandwidth


def all_plans(n_pairs: int, batch: int) -> Sequence[Plan]:
    """Every kind of plan there is, for tests that hold them against each other."""
    chunks = sorted({1, max(1, batch // 2), batch})
    forms = itertools.product((False, True), repeat=n_pairs)
    return [Plan(*choice) for choice in itertools.product(chunks, (False, True), forms)]


def describe(plan: Plan) -> str:
    """A few words for a table: ``'8 images, factored'``."""
    kinds = {('formed' if formed else 'factored') for formed in plan.formed}
    joint = ', joint' if plan.joint else ''
    return f'{plan.images_per_chunk} image{"s" * (plan.images_per_chunk > 1)}, {" and ".join(sorted(kinds))}{joint}'


def element_size(dtype: torch.dtype) -> int:
    """Bytes of a number."""
    return torch.finfo(dtype).bits // 8
