"""A domain with a shift, and a model that knows a rule, without Ray."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.ingest.test_ingest import backwards
from tests.tiny import campaign, texts, write_campaign, write_jsonl
from umc_ray.campaign import robustness
from umc_ray.campaign.robustness import check_shifts
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest import ingest as ingest_module
from umc_ray.ingest.ingest import ingest
from umc_ray.ingest.some_rows import some_rows
from umc_ray.records import DomainKey, embeddings_column
from umc_ray.robustness import shifts
from umc_ray.robustness.corruptions import TEXTS
from umc_ray.robustness.shifts import Robustness, ShiftSpec, measure
from umc_ray.specialists.ensemble import EnsembleRef

KEY, FEATURES = DomainKey("mood", "reviews"), "features/mood/f"


class Rule:
    """A model that knows the small letters of good words."""

    def utility(self, payloads, targets):
        said = [
            "good" if any(w in p for w in ("good", "great", "fine")) else "bad" for p in payloads
        ]
        return np.array([float(a == b) for a, b in zip(said, targets, strict=True)])


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A campaign whose test split is read, encoded by zeros."""
    monkeypatch.setattr(ingest_module, "stream", backwards)
    monkeypatch.setattr(shifts._Predictor, "of", lambda spec, storage: Rule())
    values = campaign(tmp_path, robustness={"corruptions": True, "samples": 30})
    shouted = [{**row, "text": row["text"].upper()} for row in texts(50, seed=8)]
    write_jsonl(tmp_path / "shouted.jsonl", shouted)
    values["tasks"]["mood"]["domains"]["reviews"]["shifted"] = {"shouted": "shouted.jsonl"}
    run = Run(load_campaign(write_campaign(tmp_path, values)))
    parts = ingest(run.config, KEY, "test", run.storage).parts
    for part in parts:
        ids = run.storage.read_table(part.key("pool"), ["sample_id"])["sample_id"]
        embeddings = embeddings_column(np.zeros((part.rows, 2), np.float16))
        table = pa.table({"sample_id": ids, "embedding": embeddings})
        run.storage.write_table(part.key(FEATURES), table)
    spec = ShiftSpec(run.config, KEY, run.kinds["mood"], EnsembleRef("", (), ""), parts, FEATURES)
    return spec, run.storage


def test_shifts_and_corruptions_are_measured_beside_clean_samples(spec):
    found = measure(*spec)
    assert (found.clean.n, found.clean.utility.value) == (30, 1.0)
    (shift,) = found.shifts
    assert (shift.name, shift.n) == ("shouted", 30)
    assert 0.2 < shift.utility.value < 0.8  # all are called bad
    by_name = {each.name: each for each in found.corruptions}
    assert list(by_name) == list(TEXTS)
    assert by_name["in small letters"].utility.value == 1
    assert by_name["in capitals"].utility.high < 1
    means = [each.utility.value for each in (*found.corruptions, shift)]
    assert found.score.value == pytest.approx(np.mean(means))
    assert found.score.low < found.score.value < found.score.high


def test_samples_of_a_shift_are_drawn_by_content_and_must_have_labels(spec, tmp_path):
    config, storage = spec[0].config, spec[1]
    rows = [{"text": f"word{i}", "label": "good"} for i in range(40)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_jsonl(tmp_path / "b.jsonl", rows[::-1])
    drawn = [
        {row.text for row in some_rows(config, KEY, str(tmp_path / name), storage, 10).usable}
        for name in ("a.jsonl", "b.jsonl")
    ]
    assert len(drawn[0]) == 10
    assert drawn[0] == drawn[1]  # whatever the order
    assert some_rows(config, KEY, str(tmp_path / "a.jsonl"), storage, 10).read == 40
    write_jsonl(tmp_path / "c.jsonl", [{"text": "word", "label": "odd"}])
    with pytest.raises(DataError, match=r"1 of 1 rows of .*c.jsonl cannot be used, such as"):
        some_rows(config, KEY, str(tmp_path / "c.jsonl"), storage, 10)
    (tmp_path / "d.jsonl").write_text("")
    with pytest.raises(DataError, match="has no row"):
        some_rows(config, KEY, str(tmp_path / "d.jsonl"), storage, 10)


def test_samples_that_are_in_the_pool_are_left_out_and_counted_and_so_are_bad_rows(spec, tmp_path):
    found = spec[0].config.domain(KEY)
    rows = [*texts(12, seed=8), *texts(3, seed=1), {"text": " ", "label": "good"}]
    write_jsonl(tmp_path / "shouted.jsonl", rows)
    rules = spec[0].config.ingest.model_copy(update={"max_bad_share": 0.1})
    config = spec[0].config.model_copy(update={"ingest": rules})
    assert found.shifted
    ingest(config, KEY, "pool", spec[1])  # seed 1 made it
    (shift,) = measure(replace(spec[0], config=config), spec[1]).shifts
    assert (shift.n, shift.in_pool, shift.bad) == (12, 3, 1)
    assert shift.left_out == "3 also in a pool, 1 bad rows"
    write_jsonl(tmp_path / "shouted.jsonl", texts(3, seed=1))
    with pytest.raises(DataError, match="shifted shouted: all samples are in a pool, too"):
        measure(spec[0], spec[1])


def test_shifts_need_clean_samples_to_compare_with(tmp_path):
    values = json.loads(json.dumps(campaign(tmp_path)))
    values["tasks"]["mood"]["domains"]["posts"]["shifted"] = {"x": "x.csv"}
    with pytest.raises(ConfigError, match="shifted needs test: clean samples to compare with"):
        load_campaign(write_campaign(tmp_path, values))


def test_a_shift_that_cannot_be_read_is_noticed_before_labels_are_spent(spec, tmp_path):
    run = Run(load_campaign(tmp_path / "campaign.yaml"))
    check_shifts(run)
    assert not run.storage.exists("quarantine/shifted/mood/reviews/shouted.parquet")
    write_jsonl(tmp_path / "shouted.jsonl", [*texts(29, seed=8), {"text": " ", "label": "good"}])
    check_shifts(run)
    (bad,) = run.storage.read_table("quarantine/shifted/mood/reviews/shouted.parquet").to_pylist()
    assert bad["reason"] == "blank text"
    (tmp_path / "shouted.jsonl").unlink()
    with pytest.raises(DataError, match=r"mood/reviews, shifted shouted: .*does not exist"):
        check_shifts(run)


def test_other_shifts_are_measured_anew(spec, tmp_path, monkeypatch):
    run = Run(load_campaign(tmp_path / "campaign.yaml"))
    asked = []
    monkeypatch.setattr(robustness, "connect", lambda: None)
    monkeypatch.setattr(robustness, "_specs", lambda run, number: [spec[0]])
    monkeypatch.setattr(
        robustness, "measure_all", lambda specs, _: asked.append(specs) or Robustness({})
    )
    for _ in range(2):
        robustness.measure_robustness(run, 1)
    assert len(asked) == 1
    path = tmp_path / "campaign.yaml"
    path.write_text(path.read_text().replace("samples: 30", "samples: 20"))
    robustness.measure_robustness(Run(load_campaign(path)), 1)
    assert len(asked) == 2
