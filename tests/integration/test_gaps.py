"""Most given labels are of one kind of text: the other is found, looked for, and written."""

from contextlib import closing
from pathlib import Path

import pytest

from tests import tiny
from tests.integration.test_given_labels import answer
from tests.tiny import BAD, PLAIN
from tests.writer import Writer, serving
from umc_ray.campaign.campaign import run_campaign
from umc_ray.campaign.forget import forget
from umc_ray.campaign.gaps import gaps_after
from umc_ray.campaign.run import Run
from umc_ray.campaign.synthetic import standings_of
from umc_ray.config.loading import load_campaign
from umc_ray.diversity.synthetic import read_origins
from umc_ray.errors import AwaitingAnnotations
from umc_ray.records import DomainKey
from umc_ray.report.report import write_report
from umc_ray.report.summary import result_lines

pytestmark = pytest.mark.ray

KNOWN_BAD = 3
POSTS = DomainKey("mood", "posts")


def campaign(folder, url):
    values = tiny.campaign(folder, budget={"labels": 20, "per_round": 20})
    rows = tiny.texts(300, seed=3)
    truth = {row["text"]: row["label"] for row in rows}
    bad = [row["text"] for row in rows if row["label"] == "bad"]
    good = [row["text"] for row in rows if row["label"] == "good"]
    known = {*bad[:KNOWN_BAD], *good[:70]}
    given = [{**row, "label": row["label"] if row["text"] in known else ""} for row in rows]
    tiny.write_csv(folder / "posts.csv", given)
    tiny.write_csv(folder / "wanted.csv", tiny.texts(100, seed=5))
    values["tasks"]["mood"]["domains"]["posts"]["target"] = "wanted.csv"
    del values["tasks"]["mood"]["domains"]["reviews"]
    values |= {"annotation": {"backend": "sheet"}, "refine": {"share": 0.5}}
    values["refine"] |= {
        "samples_per_round": 6,
        "generators": {"writer": {"kind": "language_model", "url": url, "model": "tiny"}},
    }
    return tiny.write_campaign(folder, values), truth


def words(seed):
    """A text of the kind that is missing."""
    return f"{BAD[seed % 3]} {BAD[seed % 2]} {PLAIN[seed % 40]} {PLAIN[seed % 37]}"


def test_a_gap_is_found_searched_filled_and_shown(ray_cluster, tmp_path):
    writer = Writer(words)
    with serving(writer.app) as url:
        path, truth = campaign(tmp_path, url)
        run = Run(load_campaign(path))
        with closing(run.store):
            with pytest.raises(AwaitingAnnotations):
                run_campaign(run)
            check_search(run, truth)
            made = [text for part in run.synthetic for text in texts_of(run, part).values()]
            assert 1 <= len(made) <= 6
            assert len(writer.bodies) == 6
            answer(run, 1, {**truth, **dict.fromkeys(made, "bad")})
            run_campaign(run)
            assert len(writer.bodies) == 6  # nothing is made twice
            standing = standings_of(run, 1)["standing"].to_pylist()
            assert standing.count("accepted") == len(validated(run)) >= 1
            report = Path(write_report(run)).read_text()
            assert 'id="gaps"' in report
            assert 'id="synthetic"' in report
            assert run.round_metrics(1)[-1].diversity["mood/posts"].new is not None
            assert "writer: " in report and " validated, " in report  # what was tried for the gap
            assert 'id="criteria"' in report
            check_forget(run)


def check_forget(run):
    """What a sample has said is gone from what was made of it, and so are these samples."""
    made = read_origins(run.storage, run.synthetic).to_pylist()
    exemplar = made[0]["exemplars"][0]
    pools = [texts_of(run, part) for part in run.pools]
    (said,) = (texts[exemplar] for texts in pools if exemplar in texts)
    assert said in made[0]["prompt"]
    forget(run, POSTS, [f"s{exemplar}"])
    after = read_origins(run.storage, run.synthetic).to_pylist()
    assert not any(said in (row["prompt"] or "") for row in after)
    written = {i: text for part in run.synthetic for i, text in texts_of(run, part).items()}
    gone = {row["sample_id"] for row in made if exemplar in row["exemplars"]}
    assert {i for i, text in written.items() if text is None} == gone


def check_search(run, truth):
    """Half of the questions are about what is lacking: of the pool, and made."""
    found = gaps_after(run, 0).domains["mood/posts"]
    assert (found.of, found.reference) == ("target", 100)
    gaps = {gap.id: gap for gap in found.open}
    assert gaps
    assert sum(gap.labeled for gap in gaps.values()) <= KNOWN_BAD
    assert any(line.startswith("mood/posts: ") for line in result_lines(run))
    batch = run.storage.read_table("rounds/0001/batch.parquet").to_pylist()
    asked = [row for row in batch if "; for " in row["why"]]
    assert 3 <= len(asked) <= 10 - len(validated(run))
    names = ["label bad", *(f"gap {name}" for name in gaps)]
    assert all(any(f"; for {name}," in row["why"] for name in names) for row in asked)
    text_of = {i: text for part in run.pools for i, text in texts_of(run, part).items()}
    labels = [truth[text_of[row["sample_id"]]] for row in asked]
    assert labels.count("bad") >= len(asked) - 1


def validated(run):
    return run.storage.read_table("rounds/0001/validation.parquet").to_pylist()


def texts_of(run, part):
    rows = run.storage.read_table(part.key("pool")).to_pylist()
    return {row["sample_id"]: row["text"] for row in rows}
