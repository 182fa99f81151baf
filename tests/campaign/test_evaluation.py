import numpy as np
import pyarrow as pa
import pytest

from tests.pools import DOMAIN
from umc_ray.campaign import evaluation
from umc_ray.campaign.documents import Audit, DomainMetrics
from umc_ray.campaign.evaluation import audit_metrics, certificate, summary
from umc_ray.config.campaign import CertificateConfig
from umc_ray.methods.calibration import reliability
from umc_ray.methods.certificates import certify
from umc_ray.methods.intervals import wilson_interval
from umc_ray.passes.score import score_schema
from umc_ray.records import LABELS, ORACLE, DomainKey, Part
from umc_ray.specialists.combination import Trained
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.specialists.specialist import Examples
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel
from umc_ray.tasks.quality import Estimate, Quality

NEWS = DomainKey("mood", "news")
KIND, SEVERAL = Classification(("bad", "good")), MultiLabel(("bad", "good"))


def examples(kind, texts):
    return Examples(
        texts_N=tuple(texts),
        targets=kind.encode(texts),
        features={"words": np.zeros((6, 2), np.float32)},
        domains_N=np.array(["a", "a", "a", "a", "b", "b"]),
        ids_N=np.arange(6),
        audit_N=np.array([True, True, True, False, False, False]),
        random_N=np.array([True, True, True, False, False, False]),
        rounds_N=np.ones(6, np.int64),
        agreement_N=np.ones(6, np.float32),
    )


def trained(predicted, certainty=(0.9, 0.8, 0.7, 0.9, 0.8, 0.9)):
    certainty_N = np.array(certainty, np.float32)
    return Trained(EnsembleRef("f", ("x",), "v"), tuple(predicted), certainty_N, {})


def test_accuracy_is_that_of_held_out_opinions_on_audits():
    samples = examples(KIND, ["bad", "good", "good", "bad", "good", "bad"])
    found = audit_metrics(
        trained(["bad", "bad", "good", "good", "good", "bad"]), samples, "mood", KIND
    )
    low, high = wilson_interval(2, 3)
    assert found == {"mood/a": Audit(3, Estimate(pytest.approx(2 / 3), low, high))}


def test_audits_of_several_labels_have_the_mean_utility_of_their_sets():
    samples = examples(SEVERAL, ["bad", "bad | good", "(none)", "bad", "good", "bad"])
    found = audit_metrics(trained(["bad", "good", "bad", *["bad"] * 3]), samples, "mood", SEVERAL)
    audit = found["mood/a"]
    assert (audit.n, audit.utility.value) == (3, pytest.approx((1 + 0.5 + 0) / 3))
    assert audit.utility.low <= audit.utility.value <= audit.utility.high


def test_a_certificate_counts_answers_of_audits_that_are_right_in_full():
    samples = examples(SEVERAL, ["bad", "bad | good", "(none)", "bad", "good", "bad"])
    held_out = trained(["bad", "good", "(none)", *["bad"] * 3])
    rules = CertificateConfig(max_error=0.9, confidence=0.5)
    found = certificate(held_out, samples, SEVERAL, rules)
    right_N, top_N = np.array([True, False, True]), held_out.certainty_N[:3]
    assert found == certify(top_N, right_N, 0.9, 0.5)
    assert (found.audits, found.errors) == (3, 1)


def write_test(storage, name, rows):
    """Store a part of a test split: its label, the predicted class, and how sure that is."""
    part = Part("test", DOMAIN, name, len(rows))
    oracle = [{"sample_id": i, "label": label} for i, (label, _, _) in enumerate(rows)]
    schema = score_schema(KIND)
    scores = [  # NaN where no encoder could read the sample
        {**dict.fromkeys(schema.names, 0 * prob), "sample_id": 0, "label_2": 0}
        | {"label_1": predicted, "prob_1": prob}
        for _, predicted, prob in rows
    ]
    storage.write_table(part.key("oracle"), pa.Table.from_pylist(oracle, schema=ORACLE))
    storage.write_table(part.key("r/scores"), pa.Table.from_pylist(scores, schema=schema))
    return part


def test_tests_are_compared_over_all_their_parts(tmp_path):
    storage = Storage(str(tmp_path))
    parts = [
        write_test(storage, "part-00000", [("good", 1, 0.8), ("bad", 1, 0.8), ("good", 1, 0.8)]),
        write_test(storage, "part-00001", [("bad", 0, 0.6), ("good", 0, float("nan"))]),
        Part("pool", DOMAIN, "part-00000", 3),  # not looked at
    ]
    found = evaluation.test_metrics(storage, "r", parts, {"mood": KIND})
    (metrics,) = found.values()
    assert list(found) == ["mood/posts"]
    assert (metrics.n, metrics.utility.value) == (4, 0.75)
    assert (metrics.utility.low, metrics.utility.high) == wilson_interval(3, 4)
    assert metrics.confusion == [[1, 1], [0, 2]]
    # three with 0.8 of whom two are right, and one with 0.6 that is right
    assert metrics.ece == pytest.approx(0.75 * (0.8 - 2 / 3) + 0.25 * 0.4)


def test_tests_of_several_labels_are_compared_by_their_sets(tmp_path):
    storage, schema = Storage(str(tmp_path)), score_schema(SEVERAL)
    part = Part("test", DOMAIN, "part-00000", 3)
    truth = ["bad | good", "(none)", "good"]
    oracle = [{"sample_id": i, "label": label} for i, label in enumerate(truth)]
    storage.write_table(part.key("oracle"), pa.Table.from_pylist(oracle, schema=ORACLE))
    scores = [
        {**dict.fromkeys(schema.names, 0), "predicted": predicted, "certainty": 0.75}
        for predicted in ([0, 1], [], [0, 1])
    ]
    storage.write_table(part.key("r/scores"), pa.Table.from_pylist(scores, schema=schema))
    (metrics,) = evaluation.test_metrics(storage, "r", [part], {"mood": SEVERAL}).values()
    assert (metrics.n, metrics.utility.value) == (3, pytest.approx((1 + 1 + 0.5) / 3))
    assert metrics.figures["exact match"].value == pytest.approx(2 / 3)
    assert metrics.ece == pytest.approx(0.75 - 2 / 3)


def quality(value):
    known = reliability(np.array([0.9]), np.array([True]))
    return Quality(n=1, utility=Estimate(value, 0.0, 1.0), ece=0.1, reliability=known)


def audit(value):
    return Audit(4, Estimate(value, 0.0, 1.0))


def test_a_summary_adds_up_by_domain_and_averages_domains():
    rows = [
        {"task": "mood", "domain": domain, "cost": cost}
        for domain, cost in [("posts", 1.0), ("news", 4.0), ("news", 8.0)]
    ]
    labels, quiet = pa.Table.from_pylist(rows, schema=LABELS), DomainKey("mood", "quiet")
    audits = {"mood/posts": audit(0.5), "mood/news": audit(1.0)}
    found = summary(labels, [DOMAIN, NEWS, quiet], {"mood/posts": 0.25}, audits, {}, {})
    assert (found.labels, found.cost) == (3, 13.0)
    assert (found.audit_utility, found.test_utility) == (0.75, None)
    assert found.domains["mood/news"] == DomainMetrics(
        labels=2,
        cost=12.0,
        uncertainty=None,
        audit=audit(1.0),
        test=None,
        selection_test=None,
    )
    assert found.domains["mood/posts"].uncertainty == 0.25
    assert found.domains["mood/quiet"].labels == 0


def test_a_summary_averages_the_domains_that_were_tested():
    tests = {"mood/posts": quality(0.5), "mood/news": quality(0.8)}
    found = summary(LABELS.empty_table(), [DOMAIN, NEWS], {}, {}, tests, {})
    assert (found.audit_utility, found.test_utility) == (None, pytest.approx(0.65))
    assert found.domains["mood/posts"].test == quality(0.5)
