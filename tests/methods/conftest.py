"""Fixtures for the tests of pure methods."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Use one torch thread: on a busy machine, small products are slower with two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
