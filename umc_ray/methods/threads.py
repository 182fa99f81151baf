"""How many threads small problems take."""

from collections.abc import Iterator
from contextlib import contextmanager

from umc_ray.deferred import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute in one thread.

    Operations of microseconds gain nothing from more, and on a busy machine each of them waits for
    the slowest thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
