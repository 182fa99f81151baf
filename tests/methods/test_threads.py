"""Small problems take one thread."""

import pytest
import torch

from umc_ray.methods.threads import one_thread


def test_there_is_one_thread_until_the_end_however_it_comes():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError), one_thread():
            assert torch.get_num_threads() == 1
            raise ValueError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
