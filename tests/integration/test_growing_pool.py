"""A campaign whose source grows between two rounds."""

from contextlib import closing

import pytest

from tests import tiny
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.history import History
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import DataError
from umc_ray.records import DomainKey
from umc_ray.release.export import write_release

pytestmark = pytest.mark.ray

POSTS = DomainKey("mood", "posts")


def run_rounds(folder, values, labels):
    """Run until so many labels are bought."""
    values["budget"] = {"labels": labels, "per_round": 30, "audit": 0.3}
    run = Run(load_campaign(tiny.write_campaign(folder, values)))
    with closing(run.store):
        run_campaign(run)
    return run


def test_new_rows_are_scored_asked_about_and_released(ray_cluster, tmp_path):
    values = tiny.campaign(tmp_path)
    before = run_rounds(tmp_path, values, 30)
    first = before.storage.read_json("rounds/0001/scores.json")
    rows = tiny.texts(120, seed=3) + tiny.texts(240, seed=8)
    tiny.write_csv(tmp_path / "posts.csv", rows)
    run = run_rounds(tmp_path, values, 90)
    pool = run.pool(POSTS)
    assert sum(part.rows for part in pool) == 360
    assert pool[: len(before.pool(POSTS))] == before.pool(POSTS)
    scored = run.storage.read_json("rounds/0001/scores.json")["domains"]
    assert first["domains"]["mood/posts"]["rows"] == 120
    assert {name: each["rows"] for name, each in scored.items()} == {
        "mood/posts": 360,
        "mood/reviews": 160,
    }
    history = History.of(run)
    ids = history.batches["sample_id"].to_pylist()
    assert (len(ids), len(set(ids))) == (90, 90)
    new = {part.name for part in pool} - {part.name for part in before.pool(POSTS)}
    asked = history.asked_of(POSTS)
    later = [row["part"] in new for row in asked.to_pylist() if row["round"] > 1]
    assert any(later)
    assert not all(later)
    check_audits(history)
    write_release(run)


def check_audits(history):
    """The audit set is a head of an order of the whole pool, and what metrics were made of."""
    audited = history.audit_ids(POSTS)
    orders = history.run.storage.read_table("random_orders/2000/mood/posts.parquet").to_pylist()
    order = [row["sample_id"] for row in orders if row["purpose"] == "audit"]
    assert len(order) == 360
    assert audited.tolist() == order[: len(audited)]
    assert history.metrics[-1].domains["mood/posts"].audit.n == len(audited) > 0


def test_a_changed_source_stops_the_campaign(ray_cluster, tmp_path):
    values = tiny.campaign(tmp_path)
    run_rounds(tmp_path, values, 30)
    tiny.write_csv(tmp_path / "posts.csv", tiny.texts(110, seed=3))
    with pytest.raises(DataError, match=r"10 samples gone .posts.csv#111, .* and 7 more"):
        run_rounds(tmp_path, values, 60)
    values["ingest"]["changed_sources"] = "keep"
    assert run_rounds(tmp_path, values, 60).finished_rounds == 2
