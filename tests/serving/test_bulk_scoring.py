"""`umc score --endpoint`: the same as `umc score`."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from tests import tiny
from umc_ray.bulk_scoring import score_by_endpoint, score_new
from umc_ray.campaign.publish import read_published
from umc_ray.client import Client, EndpointError, VersionedScore
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

pytestmark = pytest.mark.ray


def read(folder, key):
    storage = Storage(str(folder))
    return pa.concat_tables([storage.read_table(each) for each in storage.keys("") if key in each])


def test_scoring_by_endpoint_writes_the_same_as_local_scoring(server, tmp_path):
    run, domain_key = server.campaign.run, DomainKey("mood", "posts")
    source = tmp_path / "new.csv"
    # The endpoint takes shorter texts than the campaign.
    known = tiny.texts(25, seed=9)
    rows = [*known, known[3], known[0], known[3], {"text": "x" * 1001}, {"text": ""}]
    tiny.write_csv(source, rows)
    score_new(run, str(source), domain_key, str(tmp_path / "here"), probabilities=True)
    with Client(server.url, batch=7) as client:
        manifest = score_by_endpoint(
            client, run, str(source), domain_key, str(tmp_path / "there"), probabilities=True
        )
    assert (manifest.rows, manifest.bad) == (26, 1)
    here, there = read(tmp_path / "here", "part-"), read(tmp_path / "there", "part-")
    assert there.column_names == [*here.column_names, "version"]
    assert set(there["version"].to_pylist()) == {read_published(run.storage).version}
    expected = {row["key"]: row for row in here.to_pylist()}
    assert expected.keys() == {f"new.csv#{number}" for number in range(1, len(rows))}
    for number, first in ((26, 4), (27, 1), (28, 4)):
        own = {"key": f"new.csv#{number}", "source": None}
        assert expected[f"new.csv#{number}"] == {**expected[f"new.csv#{first}"], **own}
    for row in there.drop_columns("version").to_pylist():
        assert row == pytest.approx(expected.pop(row["key"]), abs=1e-4)
    assert len(expected) == 1  # the long text
    reasons = read(tmp_path / "there", "quarantine")["reason"].to_pylist()
    assert sorted(reasons) == ["blank text", "text too long: 1001 characters"]


def test_scores_without_fine_tuned_specialists_are_not_mixed_with_others(server, tmp_path):
    rows = tiny.texts(3, seed=9)
    tiny.write_csv(tmp_path / "new.csv", rows)

    def score(samples, task, columns, domain):
        said = {"label": "good", "certainty": 1, "probabilities": {}, "priority": 0}
        for index, _ in enumerate(samples):
            yield VersionedScore(index=index, version="2-ab", by_heads=index == 1, **said)

    run, domain_key = server.campaign.run, DomainKey("mood", "posts")
    with pytest.raises(EndpointError, match="left fine-tuned specialists out"):
        score_by_endpoint(
            SimpleNamespace(score=score), run, str(tmp_path / "new.csv"), domain_key, str(tmp_path)
        )
