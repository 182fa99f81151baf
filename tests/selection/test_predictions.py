import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.pools import ENCODER, FEATURES, write_ensemble, write_features, write_part
from umc_ray.records import BATCH
from umc_ray.selection.predictions import batch_predictions
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

LABELS = ("bad", "good")
KINDS = {"mood": Classification(LABELS), "shape": Classification(LABELS)}
PLACES = [("mood", 1, 0.2), ("shape", 1, 0.9), ("mood", 2, 0.7), ("mood", 0, 0.0)]
"""Of each row of the batch: task, row of the pool, and acquisition."""


def linear(slope):
    return {
        "weight": torch.tensor([[[-slope, slope]]]),
        "bias": torch.zeros(1, 2),
    }


def batch():
    rows = [
        {"task": task, "domain": "posts", "part": "part-00000", "row": row, "sample_id": 10 + row}
        | {"acquisition": acquisition, "audit": row == 0, "confidence": 0.0, "why": ""}
        for task, row, acquisition in PLACES
    ]
    return pa.Table.from_pylist(rows, schema=BATCH)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


@pytest.fixture
def part(storage):
    """A part whose row i has the embedding i."""
    return write_part(storage, [10, 11, 12], [[0], [1], [2]])


@pytest.fixture
def predictions(storage, part):
    ref = write_ensemble(storage, {"a": (linear(1.0), 1.0), "b": (linear(-0.5), 1.0)})
    features = {"mood": {ENCODER: FEATURES}, "shape": {ENCODER: FEATURES}}
    return batch_predictions(storage, {"mood": ref}, KINDS, features, [part], batch())


def test_each_specialist_and_their_mean_are_told_as_labels_with_probabilities(predictions):
    a, b = 1 / (1 + np.exp(-2.0)), 1 / (1 + np.exp(-1.0))  # that of good, and that of bad
    assert predictions[0].specialists == {
        "a": ("good", pytest.approx(a, abs=1e-4)),
        "b": ("bad", pytest.approx(b, abs=1e-4)),
    }
    good = (a + 1 - b) / 2
    assert predictions[0].shares["good"] == pytest.approx(good, abs=1e-4)
    assert predictions[0].measures["margin"] == pytest.approx(2 * good - 1, abs=2e-4)
    assert predictions[0].predicted == "good"
    assert predictions[0].confidence == pytest.approx(good, abs=1e-4)
    assert predictions[0].measures.keys() == KINDS["mood"].measures_about.keys()


def test_predictions_are_those_of_the_rows_of_the_batch(predictions):
    a, b = 1 / (1 + np.exp(-4.0)), 1 / (1 + np.exp(2.0))  # both of good, in row 2
    assert predictions[2].shares["good"] == pytest.approx((a + b) / 2, abs=1e-4)
    assert predictions[3].shares == {"bad": 0.5, "good": 0.5}


def test_nothing_is_said_of_a_sample_of_which_a_specialist_has_no_outputs(storage):
    part = write_part(storage, [10, 11, 12], [[0], [np.nan], [2]])
    ref = write_ensemble(storage, {"a": (linear(1.0), 1.0)})
    found = batch_predictions(
        storage, {"mood": ref}, KINDS, {"mood": {ENCODER: FEATURES}}, [part], batch()
    )
    assert [each is not None for each in found] == [False, False, True, True]


def test_a_task_without_models_has_no_opinion(predictions):
    assert predictions[1] is None


def test_specialists_of_two_encoders_read_both_tables(storage, part):
    write_features(storage, part, [10, 11, 12], [[5], [-1], [7]], "features/y")
    stored = {"a": (linear(1.0), 1.0), "b": (linear(1.0), 1.0)}
    ref = write_ensemble(storage, stored, encoders={"b": "large"})
    features = {"mood": {ENCODER: FEATURES, "large": "features/y"}}
    found = batch_predictions(storage, {"mood": ref}, KINDS, features, [part], batch())
    one = round(float(1 / (1 + np.exp(-2.0))), 4)
    assert found[0].specialists == {"a": ("good", one), "b": ("bad", one)}


def test_several_labels_are_told_together(storage, part):
    calibration = {"scales": [1.0, 1.0], "shifts": [0.0, 1.0]}
    ref = write_ensemble(
        storage, {"a": (linear(1.0), calibration)}, decision={"thresholds": [0.2, 0.5]}
    )
    kinds = {"mood": MultiLabel(LABELS)}
    features = {"mood": {ENCODER: FEATURES}}
    found = batch_predictions(storage, {"mood": ref}, kinds, features, [part], batch())
    bad, good = 1 / (1 + np.exp(1.0)), 1 / (1 + np.exp(-2.0))
    assert found[0].predicted == "bad | good"
    assert found[0].shares == {
        "bad": pytest.approx(bad, abs=1e-4),
        "good": pytest.approx(good, abs=1e-4),
    }
    assert found[0].confidence == pytest.approx(bad * good, abs=1e-4)
