"""What several tests of pure methods need."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Many small products: where other processes run, two threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
