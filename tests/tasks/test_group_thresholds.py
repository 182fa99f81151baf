"""What a group's threshold changes: the label and its certainty, not what is measured."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.passes.test_score import worker_of
from tests.pools import DOMAIN, write_ensemble, write_part
from tests.specialists.test_ensemble import head
from umc_ray.campaign.fairness import by_common_threshold
from umc_ray.cluster.stream import run_item
from umc_ray.config.task import TaskConfig
from umc_ray.methods.group_thresholds import group_shift
from umc_ray.passes.score import score_table
from umc_ray.specialists.combination import EnsembleJob, Evidence, _with_groups
from umc_ray.specialists.specialist import Examples
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.decisions import in_group

KIND = Classification(("no", "yes"))
PROBS_SNC = torch.softmax(torch.randn(3, 50, 2, generator=torch.manual_seed(0)), dim=2)
DECISION = {"groups": {"posts/f × a": -0.5, "posts/m": 0.25}}


def test_only_the_label_and_its_certainty_change():
    decision = in_group(DECISION, "posts", "f × a")
    plain, shifted = KIND.measures(PROBS_SNC, {}), KIND.measures(PROBS_SNC, decision)
    odds_N = shifted.mean_NC[:, 1] / shifted.mean_NC[:, 0]
    expected_N = (odds_N > np.exp(0.5)).long()
    predicted = KIND.predict(shifted.mean_NC, decision)
    assert predicted == [KIND.labels[i] for i in expected_N]
    assert 0 < (expected_N != plain.mean_NC.argmax(1)).sum() < 50
    right_N = shifted.mean_NC.gather(1, expected_N[:, None])[:, 0]
    torch.testing.assert_close(shifted.certainty_N, right_N)
    for name, values_N in plain.columns.items():
        torch.testing.assert_close(shifted.columns[name], values_N)
    table = score_table(KIND, np.arange(50), shifted, decision)
    assert KIND.predicted(table) == (predicted, pytest.approx(right_N.tolist()))
    common = score_table(KIND, np.arange(50), plain, {})
    assert by_common_threshold(table).equals(common)


@pytest.mark.parametrize(
    ("domain", "group"), [("posts", None), (None, "m"), ("posts", "f"), ("mail", "m")]
)
def test_a_group_that_is_not_known_has_the_common_threshold(domain, group):
    assert in_group(DECISION, domain, group) == DECISION


def test_a_pass_predicts_each_sample_by_the_threshold_of_its_group(tmp_path):
    storage, rng = Storage(str(tmp_path)), np.random.default_rng(0)
    part = write_part(storage, list(range(90)), rng.normal(size=(90, 4)))
    sexes, ages = rng.choice(["f", "m"], 90), rng.choice(["a", "b"], 90)
    storage.write_table(part.key("kept"), pa.table({"sex": sexes, "age": ages}))
    key = f"{DOMAIN.domain}/f × a"
    heads = {"posts": (head("linear", 1, classes=2), 1.0)}
    ref = write_ensemble(storage, heads, decision={"groups": {key: 1.5}})
    tables = {}
    for groups in ({}, {DOMAIN: ["sex", "age"]}):
        worker = worker_of(storage, ref, kind=KIND, groups=groups)
        tables[bool(groups)], _ = run_item(worker, part), None
        tables[bool(groups)] = storage.read_table(worker.output_key(part))
    plain, found = tables[False].to_pylist(), tables[True].to_pylist()
    own_N = (sexes == "f") & (ages == "a")
    for row, before, is_own in zip(found, plain, own_N, strict=True):
        yes = before["prob_1"] if before["label_1"] == 1 else before["prob_2"]
        expected = int(np.log(yes / (1 - yes)) + 1.5 > 0) if is_own else before["label_1"]
        assert row["label_1"] == expected
        assert {**row, **before} == before | {"sample_id": row["sample_id"]}
    assert found != plain


def test_thresholds_are_fitted_to_held_out_predictions_of_each_domain():
    rng, n = np.random.default_rng(1), 300
    targets_N, own_N = rng.integers(2, size=n), rng.random(n) < 0.4
    logits_N = rng.normal(np.where(targets_N, 1.0, -1.0)) - own_N
    probs_SNC = torch.softmax(torch.tensor(np.stack([0 * logits_N, logits_N], 1))[None], 2).float()
    task = TaskConfig.model_validate(
        {
            "kind": "classification",
            "labels": list(KIND.labels),
            "encoder": {"kind": "static_text", "path": "x"},
            "domains": {"near": {"source": "x", "text": "t", "groups": ["sex"]}},
        }
    )
    examples = Examples(
        texts_N=tuple(KIND.labels[i] for i in targets_N),
        targets=targets_N,
        features={},
        domains_N=np.full(n, "near"),
        ids_N=np.arange(n),
        audit_N=np.ones(n, np.bool_),
        random_N=np.ones(n, np.bool_),
        rounds_N=np.ones(n, np.int64),
        agreement_N=np.ones(n, np.float32),
        groups={"sex": np.where(own_N, "f", "m")},
    )
    evidence = Evidence(KIND, examples, np.ones(n, np.float32))
    job = EnsembleJob(task, examples, "models/x", None, smallest_group=30)
    found = _with_groups(job, evidence, probs_SNC)["groups"]
    weights_N = np.ones(n)
    expected = {
        f"near/{name}": group_shift(logits_N, targets_N == 1, weights_N, side_N)
        for name, side_N in (("f", own_N), ("m", ~own_N))
    }
    assert found == pytest.approx(expected, abs=1e-3)
    assert found["near/f"] > 0.2 > found["near/m"]
    few = EnsembleJob(task, examples, "models/x", None, smallest_group=200)
    assert "groups" not in _with_groups(few, evidence, probs_SNC)
