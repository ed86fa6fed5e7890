"""Simultaneous executions that share the GPUs or the cores of this machine."""

import os
import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

from .training import end_running_processes

Item = TypeVar('Item')
Value = TypeVar('Value')


def execute_in_slots(
    jobs: int, items: Sequence[Item], execute: Callable[[Item, Mapping[str, str]], Value]
) -> Iterable[tuple[Item, Callable[[], Value]]]:
    """Execute a function, which waits for a process, for each item.

    Args:
        jobs (int): Number of simultaneous executions.
        items (Sequence): The items.
        execute (Callable): Receives an item and the environment variables of its process.

    Yields:
        tuple: A finished item, and a function that returns its value or raises its error.

    Example:
        >>> [(item, value()) for item, value in execute_in_slots(1, [1, 2], lambda item, environment: 10 * item)]
        [(1, 10), (2, 20)]
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(max(jobs, 1)):
        slots.put(slot)

    def execute_item(item: Item) -> Value:
        slot = slots.get()
        try:
            return execute(item, environment(slot, jobs))
        finally:
            slots.put(slot)

    pool = ThreadPoolExecutor(max(jobs, 1))
    try:
        futures: dict[Future[Value], Item] = {pool.submit(execute_item, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result
    except BaseException:
        # An interrupt ends the running processes; those in the queue do not start.
        pool.shutdown(wait=False, cancel_futures=True)
        end_running_processes()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def environment(slot: int, jobs: int) -> dict[str, str]:
    """Return environment variables that distribute simultaneous trainings over the GPUs, or over the CPU cores.

    Args:
        slot (int): Number of the training among the simultaneous ones.
        jobs (int): Number of simultaneous trainings.

    Returns:
        dict[str, str]: The variables.
    """
    variables = dict(os.environ)
    if torch.cuda.is_available():
        visible = variables.get('CUDA_VISIBLE_DEVICES')
        devices = visible.split(',') if visible else [str(index) for index in range(torch.cuda.device_count())]
        variables['CUDA_VISIBLE_DEVICES'] = devices[slot % len(devices)]
    elif jobs > 1:
        variables.setdefault('OMP_NUM_THREADS', str(max(len(os.sched_getaffinity(0)) // jobs, 1)))
    return variables
