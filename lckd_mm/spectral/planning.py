r"""Choice of the formulation that computes the spectral norms fastest, from the shapes of the maps and the device.

All formulations give the same values and gradients. They differ in two decisions:

- A product with :math:`T = F_1 F_2^\top / N` is either *factored* or uses the *materialized* T. A factored product costs
  2 N (C1 + C2) flops and reads both maps. T costs 2 N C1 C2 flops once; each product then reads C1 C2 numbers.
- The batch is processed in *chunks* of images. From the second product on, only what does not fit into the cache is read
  from memory. Each chunk also pays for its tensor operations, which dominates where maps are small.

The cost model adds bytes / bandwidth, flops / rate, and the number of tensor operations times their cost. The plan with
the lowest estimate is used.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class DeviceProfile:
    """Performance figures of a device.

    Attributes:
        cache_bytes: Bytes of a chunk that are read at ``cache_bandwidth``, the others at ``memory_bandwidth``.
        cache_bandwidth: Bytes per second of a batched vector-matrix product whose matrices are in the cache.
        memory_bandwidth: Bytes per second of the same product with the matrices in memory.
        flops: Floating-point operations per second while T is materialized.
        seconds_per_call: Duration of a small tensor operation.
    """

    cache_bytes: float
    cache_bandwidth: float
    memory_bandwidth: float
    flops: float
    seconds_per_call: float


# CPU: measured on 2 cores of an AMD EPYC (Zen 3, 32 MB of L3, shared with other machines). Bandwidths and calls are near those that
# `tools/analysis_tools/benchmark_spectral.py --constants` prints. The share of the cache and the rate of T are fitted: on 27 shapes, the
# chosen plans took 1.046 times as long as the fastest, and those of the best fit of all constants 1.044 times.
# `tools/analysis_tools/benchmark_plans.py` compares the choices with all plans.
# CUDA: measured by `--constants` on an H100 (torch 2.11, float32 without TF32), rounded. Each figure included the wait for one call, 20 to
# 30 us, so that the bandwidth in the cache (0.23e12) was that of the wait; the one of the memory stands for both. The choices were not
# compared with all plans. A GPU processes whole batches, and all pairs of both networks at a time (joint_lanczos.py).
DEVICE_PROFILES = {
    'cpu': DeviceProfile(8e6, 45e9, 19e9, 75e9, 10e-6),
    'cuda': DeviceProfile(4e9, 2.4e12, 2.4e12, 25e12, 10e-6),
}

# Small tensor operations per solver step (two products, two normalizations), and further ones per chunk: counted in
# solvers.py and operator.py.
_CALLS_PER_STEP = 24
_CALLS_PER_CHUNK = 30

# Beyond the cache a larger chunk saves tensor operations but allocates larger pooled maps. glibc returns allocations above
# 32 MB to the system each time, and a new page costs more than reading it (measured: 27 ms versus 3 ms for 64 MB).
_MAX_CHUNK_BYTES = 32e6


@dataclasses.dataclass(frozen=True)
class Plan:
    """Formulation of one computation.

    Attributes:
        images_per_chunk: Number of images processed at a time.
        materialized: For each pair, whether its T is materialized.
        joint: Whether all pairs of all networks are solved at a time, as whole batches.
    """

    images_per_chunk: int
    materialized: tuple[bool, ...]
    joint: bool = False


_forced_plans: contextvars.ContextVar[Plan | None] = contextvars.ContextVar('_forced_plans', default=None)


@contextlib.contextmanager
def force_plan(plan: Plan | None) -> Iterator[None]:
    """Use a plan for everything that is computed in a block, for tests and benchmarks.

    Args:
        plan (Plan, optional): The plan; None chooses the fastest one.

    Example:
        >>> with force_plan(Plan(1, (True,))):
        ...     forced_plan()
        Plan(images_per_chunk=1, materialized=(True,), joint=False)
    """
    token = _forced_plans.set(plan)
    try:
        yield
    finally:
        _forced_plans.reset(token)


def forced_plan() -> Plan | None:
    """Return the plan of the surrounding :func:`force_plan`; None if there is none."""
    return _forced_plans.get()


@functools.lru_cache(maxsize=256)
def make_plan(
    pairs: tuple[tuple[int, int, int], ...],
    batch_size: int,
    method: str,
    num_iters: int,
    element_size: int,
    device_type: str,
) -> Plan:
    """Return the plan with the lowest estimated time.

    Args:
        pairs (tuple[tuple[int, int, int], ...]): (C1, C2, N) of each pair, with N the number of positions after pooling.
        batch_size (int): Number of images.
        method (str): Name of the solver. ``'svd'`` has a fixed plan: it decomposes one materialized matrix at a time.
        num_iters (int): Number of products with T and with its transpose.
        element_size (int): Bytes per number after conversion, 4 or 8.
        device_type (str): ``'cpu'`` or ``'cuda'``. Other devices use the figures of ``'cuda'``.

    Returns:
        Plan: The plan with the lowest estimate.

    Example:
        >>> make_plan(((1024, 2048, 49),), 8, 'lanczos', 5, 4, 'cpu')
        Plan(images_per_chunk=8, materialized=(False,), joint=False)
    """
    if method == 'svd':
        return Plan(1, (False,) * len(pairs))
    device = DEVICE_PROFILES.get(device_type, DEVICE_PROFILES['cuda'])
    # The gradient of the power iteration doubles the number of products.
    num_products = 2 * num_iters * (2 if method == 'power' else 1)
    bytes_per_image = max(n * (c1 + c2) * element_size for c1, c2, n in pairs)
    candidates = []
    for num_images in range(1, batch_size + 1):
        if num_images > 1 and num_images * bytes_per_image > max(device.cache_bytes, _MAX_CHUNK_BYTES):
            break
        costs = [_product_seconds(device, pair, num_images, num_products, element_size) for pair in pairs]
        num_calls = len(pairs) * (_CALLS_PER_CHUNK + _CALLS_PER_STEP * num_products / 2)
        seconds = sum(map(min, costs)) + num_calls * device.seconds_per_call
        materialized = tuple(with_matrix < factored for factored, with_matrix in costs)
        candidates.append((seconds * -(-batch_size // num_images), num_images, materialized))
    _, num_images, materialized = min(candidates)
    if method == 'lanczos' and device_type != 'cpu':
        return Plan(batch_size, materialized, joint=True)
    return Plan(num_images, materialized)


def _product_seconds(
    device: DeviceProfile, pair: tuple[int, int, int], num_images: int, num_products: int, element_size: int
) -> tuple[float, float]:
    """Estimate the time of all products of one chunk: factored, and with T including its computation.

    Further products that the gradient needs cost the same in both formulations and are left out.
    """
    c1, c2, n = pair
    # A factored product is two operations, one with T is one.
    factored = _read_seconds(device, num_images * n * (c1 + c2) * element_size, num_products)
    factored += num_products * device.seconds_per_call
    materialization = num_images * 2 * n * c1 * c2 / device.flops
    return factored, materialization + _read_seconds(device, num_images * c1 * c2 * element_size, num_products)


def _read_seconds(device: DeviceProfile, num_bytes: float, num_reads: int) -> float:
    cached_bytes = min(num_bytes, device.cache_bytes)
    seconds = cached_bytes / device.cache_bandwidth + (num_bytes - cached_bytes) / device.memory_bandwidth
    return seconds * num_reads


def describe(plan: Plan) -> str:
    """Return a short description of a plan for a table.

    Example:
        >>> describe(Plan(8, (False, False)))
        '8 images, factored'
    """
    kinds = sorted({'materialized' if materialized else 'factored' for materialized in plan.materialized})
    return f'{plan.images_per_chunk} image{"s" * (plan.images_per_chunk > 1)}, {" and ".join(kinds)}'
