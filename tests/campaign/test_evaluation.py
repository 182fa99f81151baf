import numpy as np
import pyarrow as pa
import pytest

from tests.pools import DOMAIN
from umc_ray.campaign import evaluation
from umc_ray.campaign.evaluation import audit_metrics, summary, wilson_interval
from umc_ray.records import LABELS, ORACLE, SCORES, DomainKey, Part
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.training import Trained, TrainingSet
from umc_ray.storage import Storage

NEWS = DomainKey("mood", "news")


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_as_published(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_accuracy_is_that_of_held_out_opinions_on_audits():
    samples = TrainingSet(
        embeddings_ND=np.zeros((6, 2), np.float32),
        labels_N=np.array([0, 1, 1, 0, 1, 0]),
        domains_N=np.array(["a", "a", "a", "a", "b", "b"]),
        ids_N=np.arange(6),
        audit_N=np.array([True, True, True, False, False, False]),
        random_N=np.array([True, True, True, False, False, False]),
        rounds_N=np.ones(6, np.int64),
        agreement_N=np.ones(6, np.float32),
    )
    opinions_NC = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]])
    trained = Trained(EnsembleRef("f", ("x",), "v"), opinions_NC.astype(np.float32), {})
    low, high = wilson_interval(2, 3)
    assert audit_metrics(trained, samples, "mood") == {
        "mood/a": {"n": 3, "accuracy": pytest.approx(2 / 3), "low": low, "high": high}
    }


def write_test(storage, name, rows):
    """Store a part of a test split: its label, the predicted class, and how sure that is."""
    part = Part("test", DOMAIN, name, len(rows))
    oracle = [{"sample_id": i, "label": label} for i, (label, _, _) in enumerate(rows)]
    scores = [
        {**dict.fromkeys(SCORES.names, 0), "label_1": predicted, "prob_1": prob}
        for _, predicted, prob in rows
    ]
    storage.write_table(part.key("oracle"), pa.Table.from_pylist(oracle, schema=ORACLE))
    storage.write_table(part.key("r/scores"), pa.Table.from_pylist(scores, schema=SCORES))
    return part


def test_tests_are_compared_over_all_their_parts(tmp_path):
    storage = Storage(str(tmp_path))
    parts = [
        write_test(storage, "part-00000", [("good", 1, 0.8), ("bad", 1, 0.8), ("good", 1, 0.8)]),
        write_test(storage, "part-00001", [("bad", 0, 0.6), ("good", 0, float("nan"))]),
        Part("pool", DOMAIN, "part-00000", 3),  # not looked at
    ]
    found = evaluation.test_metrics(storage, "r", parts, {"mood": ("bad", "good")})
    (metrics,) = found.values()
    assert list(found) == ["mood/posts"]
    assert (metrics["n"], metrics["accuracy"]) == (4, 0.75)
    assert metrics["confusion"] == [[1, 1], [0, 2]]
    # three with 0.8 of whom two are right, and one with 0.6 that is right
    assert metrics["ece"] == pytest.approx(0.75 * (0.8 - 2 / 3) + 0.25 * 0.4)


def test_a_summary_adds_up_by_domain_and_averages_domains():
    rows = [
        {**dict.fromkeys(LABELS.names, 0), "task": "mood", "domain": domain, "cost": cost}
        for domain, cost in [("posts", 1.0), ("news", 4.0), ("news", 8.0)]
    ]
    labels, quiet = pa.Table.from_pylist(rows, schema=LABELS), DomainKey("mood", "quiet")
    audits = {"mood/posts": {"accuracy": 0.5}, "mood/news": {"accuracy": 1.0}}
    found = summary(labels, [DOMAIN, NEWS, quiet], {"mood/posts": 0.25}, audits, {}, {})
    assert (found["labels"], found["cost"]) == (3, 13.0)
    assert (found["audit_accuracy"], found["test_accuracy"]) == (0.75, None)
    assert found["domains"]["mood/news"] == {
        "labels": 2,
        "cost": 12.0,
        "uncertainty": None,
        "audit": {"accuracy": 1.0},
        "test": None,
        "selection_test": None,
    }
    assert found["domains"]["mood/posts"]["uncertainty"] == 0.25
    assert found["domains"]["mood/quiet"]["labels"] == 0
