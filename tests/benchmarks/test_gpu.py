"""The benchmark for GPUs, as far as a CPU can try it."""

from importlib.util import find_spec

import pytest
import torch

from benchmarks import gpu
from benchmarks.frame import Options

COMPARED = {
    "minilm_of_loop",
    "vit_b_of_loop",
    "efficientnet_of_loop",
    "scoring_of_loop",
    "scoring_of_device",
}


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_quick_run_tries_every_measurement():
    report = gpu.run(Options(quick=True, repeats=1))
    assert report.failures == []
    assert set(report.figures) >= COMPARED | {"kmeans_torch_per_s"}
    assert ("lora_of_loop" in report.figures) == (find_spec("peft") is not None)
    assert all(value > 0 for figure in report.figures.values() for value in figure.values)


def test_a_full_run_needs_a_gpu():
    with pytest.raises(SystemExit, match="needs a GPU"):
        gpu.run(Options(quick=False, repeats=1))
