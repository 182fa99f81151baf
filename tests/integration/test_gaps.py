"""Most given labels are of one kind of text: the other is found, and people are asked about it."""

from contextlib import closing
from pathlib import Path

import pytest

from tests import tiny
from tests.integration.test_given_labels import answer
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import AwaitingAnnotations
from umc_ray.report.report import write_report
from umc_ray.report.status import activity_lines

pytestmark = pytest.mark.ray

KNOWN_BAD = 3


def campaign(folder):
    values = tiny.campaign(folder, budget={"labels": 20, "per_round": 20})
    rows = tiny.texts(300, seed=3)
    truth = {row["text"]: row["label"] for row in rows}
    bad = [row["text"] for row in rows if row["label"] == "bad"]
    good = [row["text"] for row in rows if row["label"] == "good"]
    known = {*bad[:KNOWN_BAD], *good[:70]}
    given = [{**row, "label": row["label"] if row["text"] in known else ""} for row in rows]
    tiny.write_csv(folder / "posts.csv", given)
    del values["tasks"]["mood"]["domains"]["reviews"]
    values |= {"annotation": {"backend": "sheet"}, "refine": {"share": 0.5}}
    return tiny.write_campaign(folder, values), truth


def test_a_gap_is_found_searched_and_shown(ray_cluster, tmp_path):
    path, truth = campaign(tmp_path)
    run = Run(load_campaign(path))
    with closing(run.store):
        with pytest.raises(AwaitingAnnotations):
            run_campaign(run)
        found = gaps_after(run, 0).domains["mood/posts"]
        gaps = {gap.id: gap for gap in found.open}
        assert gaps
        assert sum(gap.labeled for gap in gaps.values()) <= KNOWN_BAD
        batch = run.storage.read_table("rounds/0001/batch.parquet").to_pylist()
        asked = [row for row in batch if "; for " in row["why"]]
        assert len(asked) == (20 - 2) // 2  # half of what is not an audit
        names = ["label bad", *(f"gap {name}" for name in gaps)]
        assert all(any(f"; for {name}," in row["why"] for name in names) for row in asked)
        pool = [run.storage.read_table(part.key("pool")) for part in run.pools]
        text_of = {row["sample_id"]: row["text"] for each in pool for row in each.to_pylist()}
        labels = [truth[text_of[row["sample_id"]]] for row in asked]
        assert labels.count("bad") >= 8
        answer(run, 1, truth)
        run_campaign(run)
        report = Path(write_report(run)).read_text()
        assert 'id="gaps"' in report
        still_open = gaps_after(run, 1).domains["mood/posts"].open
        assert any(line.startswith("mood/posts: ") for line in activity_lines(run)) == bool(
            still_open
        )
