"""The processes that train a specialist together: one alone, or a worker group of Ray Train."""

import torch.distributed as dist
from torch import Tensor


def place() -> tuple[int, int]:
    """Return this process's number and how many there are."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def all_sum(value: Tensor) -> Tensor:
    """Return the sum of all processes' values."""
    if place()[1] == 1:
        return value
    summed = value.clone()
    dist.all_reduce(summed)
    return summed
