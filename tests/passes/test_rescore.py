"""Heads score a pool first, then all specialists the best of it.

Suffixes: N samples, C outputs.
"""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.passes.test_score import worker_of
from tests.pools import DOMAIN, write_ensemble, write_features, write_part
from tests.specialists.test_ensemble import HEADS, X_ND
from umc_ray.cluster.stream import run_item
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.passes.rescore import (
    HeadsWorker,
    RescoreWorker,
    SomeRows,
    read_outputs,
    rescored_rows,
    rows_to_rescore,
)
from umc_ray.specialists.ensemble import decision_key, heads_key, outputs_table
from umc_ray.storage import Storage

IDS, WHOLE = [30, 31, 32, 33, 34, 35, 36], [1, 4, 5]
"""The samples of a part, and the rows that have outputs of the fine-tuned specialist."""

OUTPUTS_NC = np.random.default_rng(3).normal(size=(7, 3)).astype(np.float16)
TABLE = outputs_table("w")


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


@pytest.fixture
def ref(storage):
    """Heads, with a decision for them alone, and a fine-tuned network that counts thrice."""
    heads = write_ensemble(storage, HEADS)
    folder = f"{heads.folder}/tuned"
    config = SpecialistConfig.model_validate({"kind": "top_layers", "encoder": "words"})
    storage.write_json(f"{folder}/config.json", config.model_dump())
    storage.write_json(f"{folder}/outputs.json", {"name": "tuned", "outputs": 3})
    storage.write_json(f"{folder}/calibration.json", {"temperature": 1.0})
    storage.write_json(decision_key(heads.folder), {"weights": [0.1, 0.1, 0.1, 0.9]})
    storage.write_json(heads_key(heads.folder), {"weights": [0.5, 0.2, 0.3]})
    return replace(heads, specialists=(*heads.specialists, "tuned"), tuned=(("tuned", "w"),))


def part_with_outputs(storage, rows, split="pool"):
    part = write_part(storage, IDS, X_ND, split=split)
    known_NC = np.full_like(OUTPUTS_NC, np.nan)
    known_NC[rows] = OUTPUTS_NC[rows]
    write_features(storage, part, IDS, known_NC, TABLE)
    return part


def scores(storage, ref, part, **changes):
    worker = replace(worker_of(storage, ref, top=7), **changes)
    run_item(worker, part)
    return storage.read_table(worker.output_key(part)).to_pylist()


def test_heads_score_what_fine_tuned_specialists_have_not(storage, ref):
    whole = scores(storage, ref, part_with_outputs(storage, range(7)), table="whole")
    heads = replace(ref, specialists=ref.heads, tuned=())
    storage.write_json(decision_key(ref.folder), storage.read_json(heads_key(ref.folder)))
    by_heads = scores(storage, heads, part_with_outputs(storage, WHOLE), table="by_heads")
    storage.write_json(decision_key(ref.folder), {"weights": [0.1, 0.1, 0.1, 0.9]})
    part = part_with_outputs(storage, WHOLE)
    both = scores(storage, ref, part, heads_first=frozenset(["mood"]))
    for row, found in enumerate(both):
        expected = (whole if row in WHOLE else by_heads)[row]
        assert found == pytest.approx(expected, abs=1e-6), row
    best = storage.read_table(part.key("rounds/0001/top"))["sample_id"].to_pylist()
    assert best == sorted(best, key=lambda each: whole[IDS.index(each)]["margin"])
    assert set(best) == {IDS[row] for row in WHOLE}


@pytest.mark.parametrize(("rows", "chosen"), [([], []), (range(7), IDS)])
def test_a_part_may_have_no_outputs_or_all(storage, ref, rows, chosen):
    part = part_with_outputs(storage, list(rows))
    found = scores(storage, ref, part, heads_first=frozenset(["mood"]))
    assert [row["sample_id"] for row in found] == IDS
    assert all(np.isfinite(row["margin"]) for row in found)
    best = storage.read_table(part.key("rounds/0001/top"))["sample_id"].to_pylist()
    assert sorted(best) == chosen


def test_a_test_is_scored_by_the_whole_ensemble(storage, ref):
    found = scores(
        storage, ref, part_with_outputs(storage, WHOLE, "test"), heads_first=frozenset(["mood"])
    )
    assert [row for row in range(7) if np.isfinite(found[row]["margin"])] == WHOLE


def test_heads_find_candidates_without_outputs(storage, ref):
    part = write_part(storage, IDS, X_ND)
    worker = HeadsWorker(replace(worker_of(storage, ref, asked=[31], top=3)))
    run_item(worker, part)
    best = storage.read_table(worker.output_key(part))
    found = scores(storage, ref, part_with_outputs(storage, []), heads_first=frozenset(["mood"]))
    order = sorted(found, key=lambda row: row["margin"])
    expected = [row["sample_id"] for row in order if row["sample_id"] != 31][:3]
    assert best["sample_id"].to_pylist() == expected
    assert np.asarray(IDS)[best["row"].to_numpy()].tolist() == expected


@dataclass(frozen=True)
class Fake:
    """Computes outputs by the text of a sample, and cannot read some."""

    table: str = TABLE
    config: EncoderConfig | None = None
    unreadable: tuple[str, ...] = ()

    def load(self):
        return SimpleNamespace(column="text")

    def encode(self, storage, part, payloads):
        read = [text is not None and text not in self.unreadable for text in payloads]
        if not any(read):
            return np.empty((len(payloads), 0), np.float16), {}
        found_NC = np.full((len(payloads), 3), np.nan, np.float16)
        found_NC[read] = [[int(t.split()[1])] * 3 for t, r in zip(payloads, read, strict=True) if r]
        return found_NC, {}


def rescore(storage, fake, part, wanted):
    """Return the items of a pass, after it has run."""
    encodings = {("mood", "tuned"): fake}
    items = rows_to_rescore(encodings, [part], wanted, storage)
    worker = RescoreWorker(storage, encodings, {"mood": 3}, "done")
    for item in items:
        run_item(worker, item)
    return items


def first_outputs(storage, part):
    return read_outputs(storage, part, TABLE)[:, 0].tolist()


def test_outputs_are_added_to_those_that_are_known(storage):
    part, nan = write_part(storage, IDS), pytest.approx(np.nan, nan_ok=True)
    (first,) = rescore(storage, Fake(), part, {part: np.array([1, 3])})
    assert isinstance(first, SomeRows)
    assert first.rows.tolist() == [1, 3]
    assert first_outputs(storage, part) == [nan, 31, nan, 33, nan, nan, nan]
    (second,) = rescore(storage, Fake(), part, {part: np.array([1, 2, 3, 6])})
    assert second.rows.tolist() == [2, 6]
    assert first_outputs(storage, part) == [nan, 31, 32, 33, nan, nan, 36]
    assert rescore(storage, Fake(), part, {part: np.array([2, 3])}) == []
    assert rescored_rows({("mood", "tuned"): Fake()}, part, storage) == 4


def test_a_part_of_which_nothing_is_wanted_has_a_table_and_a_test_has_all(storage):
    part = write_part(storage, IDS)
    rescore(storage, Fake(), part, {part: np.empty(0, np.int64)})
    assert np.isnan(read_outputs(storage, part, TABLE)).all()
    test = write_part(storage, IDS, split="test")
    rescore(storage, Fake(), test, {})
    assert first_outputs(storage, test) == IDS
    assert rescore(storage, Fake(), test, {}) == []


def test_a_sample_that_cannot_be_read_has_no_outputs(storage):
    part = write_part(storage, IDS)
    rescore(storage, Fake(unreadable=("text 31",)), part, {part: np.array([1, 2])})
    rescore(storage, Fake(unreadable=("text 33",)), part, {part: np.array([3])})
    assert np.flatnonzero(np.isfinite(first_outputs(storage, part))).tolist() == [2]


def test_samples_that_may_not_be_chosen_are_no_candidates(storage, ref):
    part = write_part(storage, IDS, X_ND)
    worker = HeadsWorker(worker_of(storage, ref, asked=IDS, top=3))
    run_item(worker, part)
    assert len(storage.read_table(worker.output_key(part))) == 0
    assert worker.scoring.excluded[DOMAIN].tolist() == IDS
