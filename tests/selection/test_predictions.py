import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.pools import write_ensemble
from umc_ray.records import BATCH
from umc_ray.selection.batch import NO_MODEL
from umc_ray.specialists.predictions import PREDICTION_FIELDS, batch_predictions
from umc_ray.storage import Storage

LABELS = ["bad", "good"]


def linear(slope):
    return {
        "weight": torch.tensor([[[-slope, slope]]]),
        "bias": torch.zeros(1, 2),
    }


def row(task, value, acquisition, audit=False):
    embedding = np.array([value], np.float16).tobytes()
    unknown = {"task": task, "domain": "posts", "part": "p", "row": 0, "sample_id": 1, "why": ""}
    thought = {"predicted": NO_MODEL, "confidence": 0.0}
    chosen = {"acquisition": acquisition, "audit": audit, "embedding": embedding}
    return unknown | thought | chosen


@pytest.fixture
def predictions(tmp_path):
    storage = Storage(str(tmp_path))
    ref = write_ensemble(storage, {"a": (linear(1.0), 1.0), "b": (linear(-0.5), 1.0)})
    rows = [row("mood", 1, 0.2), row("shape", 1, 0.9), row("mood", 2, 0.7), row("mood", 0, 0, True)]
    batch = pa.Table.from_pylist(rows, schema=BATCH)
    return batch_predictions(storage, {"mood": ref}, batch, {"mood": LABELS, "shape": LABELS})


def test_each_specialist_and_their_mean_are_told_as_labels_with_probabilities(predictions):
    a, b = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(-1.0))  # that of good, and that of bad
    assert predictions[0]["specialists"] == {
        "a": ["good", pytest.approx(a, abs=1e-4)],
        "b": ["bad", pytest.approx(b, abs=1e-4)],
    }
    good = (a + 1 - b) / 2
    assert predictions[0]["probabilities"]["good"] == pytest.approx(good, abs=1e-4)
    assert predictions[0]["margin"] == pytest.approx(2 * good - 1, abs=2e-4)
    assert set(predictions[0]) == set(PREDICTION_FIELDS)


def test_ranks_count_the_chosen_samples_of_a_domain_and_no_audits(predictions):
    assert [(each.get("rank"), each.get("ranked")) for each in predictions] == [
        (2, 2),
        (None, None),
        (1, 2),
        (None, None),
    ]


def test_a_task_without_models_has_no_opinion(predictions):
    assert predictions[1] == {}
