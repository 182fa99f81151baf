"""How many threads small problems take."""

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from umc_ray.deferred import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch, and the linear algebra of numpy and scipy, compute in one thread.

    Operations of microseconds gain nothing from more. Threads that wait for the next one take
    processor time meanwhile, and on a busy machine each operation waits for the slowest thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
