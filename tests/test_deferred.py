import pickle

import cloudpickle
import torch as real

from umc_ray.deferred import torch


def test_what_is_needed_is_that_of_torch():
    assert torch.Tensor is real.Tensor
    assert torch.nn.functional is real.nn.functional


def test_functions_that_use_it_are_sent_to_workers():
    def one():
        return torch.ones(3).sum().item()

    assert pickle.loads(pickle.dumps(torch)) is torch
    assert cloudpickle.loads(cloudpickle.dumps(one))() == 3
