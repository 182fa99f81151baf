"""What was lacking and what was tried, by documents that are written by hand."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from tests.finished import build_run, png
from umc_ray.campaign.history import History
from umc_ray.diversity.gaps import DomainGaps, FoundGap, Gaps
from umc_ray.diversity.validation import Acceptance, SyntheticSamples
from umc_ray.records import POOL, STANDINGS, Part
from umc_ray.report import gaps, refill
from umc_ray.report.criteria import criteria_rows, goals_of
from umc_ray.report.gaps import gap_lines
from umc_ray.report.refill import (
    Attempt,
    Lack,
    Seen,
    closed_gaps,
    lacks,
    made_galleries,
    shown_lacks,
)
from umc_ray.report.report import REPORT, write_report
from umc_ray.tasks.quality import Estimate

NAME = "shapes/scans"
STOOD = ["accepted", "accepted", "rejected", "fixed", "open"]


def gap(name, error=0.5):
    return FoundGap(
        name, (1,), 0.2, 40.0, 4, 0.0, 3, error, 0.1, {"1": 0.9}, [], [2000], [("part-0", 0)]
    )


def found(gaps, rare=None):
    covered = Estimate(0.8, 0.7, 0.9)
    return Gaps({NAME: DomainGaps(12, 6, 0.3, covered, "", list(gaps), rare or {})})


def acceptance(generator, gap_name, label, **standings):
    made = sum(standings.values())
    return Acceptance("shapes", "scans", generator, gap_name, label, made, standings, 0, None)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    run = build_run(str(tmp_path_factory.mktemp("runs")), tasks=("shapes",))
    storage = run.storage
    documents = {
        1: found([gap("aaaaaa"), gap("passed", error=0.0)], {"1": 5.0}),
        2: found([gap("aaaaaa")], {"1": 3.0}),
        3: found([gap("bbbbbb")]),
    }
    for number, document in documents.items():
        storage.write_record(f"rounds/{number:04d}/gaps.json", document)
    batch = storage.read_table("rounds/0002/batch.parquet")
    why = pa.array(["drawn at random", "hard; for gap aaaaaa, which has few labels"])
    batch = batch.set_column(batch.schema.get_field_index("why"), "why", why)
    storage.write_table("rounds/0002/batch.parquet", batch)
    groups = (
        acceptance("blended", "", "1", accepted=2, fixed=1, rejected=1),
        acceptance("changed", "gap aaaaaa", "1", accepted=2, open=2),
        acceptance("changed", "gap aaaaaa", "二", rejected=1, admitted=3),
    )
    storage.write_record("rounds/0003/synthetic.json", SyntheticSamples(groups, 4, 6.0))
    write_made(run)
    return History.of(run)


def write_made(run):
    """Store five synthetic samples and what has become of them."""
    ids = list(range(100, 105))
    n, (key,) = len(ids), run.config.domains()
    part = Part("synthetic", key, "synthetic-0001", n)
    columns = {
        "sample_id": ids,
        "key": list(map(str, ids)),
        "source": ["changed"] * n,
        "text": [None] * n,
        "image": [png(40 * i) for i in range(n)],
        "aliases": [[]] * n,
    }
    run.storage.write_table(part.key("pool"), pa.table(columns, POOL))
    run.storage.write_table(f"synthetic/{key}/synthetic-0001.parquet", pa.table({"id": ids}))
    same = {"task": "shapes", "domain": "scans", "part": part.name, "votes": 1, "agreement": 1.0}
    same |= {"round": 1, "cost": 1.5, "made_for": "1", "generator": "changed", "gap": "gap aaaaaa"}
    rows = [
        {**same, "row": i, "sample_id": ids[i], "standing": STOOD[i], "exemplars": [], "label": "1"}
        for i in range(n)
    ]
    run.storage.write_table("rounds/0003/standings.parquet", pa.Table.from_pylist(rows, STANDINGS))


def test_what_was_lacking_is_listed_with_what_was_tried_for_it(history):
    first, label, last = lacks(history)
    assert (first.domain, first.seen.name, first.seen.missing) == (NAME, "gap aaaaaa", 36.0)
    assert (first.since, first.closed, first.searched) == (1, 3, 1)
    ((closed, examples),) = closed_gaps(history, [first, label, last])  # open ones are shown above
    assert closed == first and len(examples) == 1
    assert first.attempts == (Attempt("changed", made=8, validated=3, used=5),)
    assert (label.seen.name, label.since, label.closed, label.searched) == ("label 1", 1, 3, 0)
    assert label.attempts == (Attempt("blended", made=4, validated=4, used=3),)
    assert (last.seen.name, last.since, last.closed, last.attempts) == ("gap bbbbbb", 3, None, ())


def test_examples_show_each_verdict_and_nothing_that_nobody_saw(history):
    (gallery,) = made_galleries(history)
    assert (gallery.domain, gallery.generator) == (NAME, "changed")
    shown = [sample.standing for sample in gallery.samples]
    assert shown == ["rejected", "fixed", "accepted", "accepted"]
    assert all(sample.image.startswith("data:image/png") for sample in gallery.samples)


def with_goals(history, **goals):
    stop = history.run.config.stop.model_copy(update=goals)
    config = history.run.config.model_copy(update={"stop": stop})
    return History.of(type(history.run)(config))


def test_criteria_are_compared_with_their_goals_after_each_round(history):
    assert goals_of(history) == ()
    with_coverage = with_goals(history, coverage=0.6)
    assert goals_of(with_coverage) == (0.6, None, None)
    rows = criteria_rows(with_coverage)
    assert [row.round for row in rows] == [1, 2, 3]
    assert [row.cells[0].value for row in rows] == [0.7] * 3
    assert [row.cells[0].reached for row in rows] == [True] * 3
    assert not any(cell.reached for row in rows for cell in row.cells[1:])
    missed = criteria_rows(with_goals(history, coverage=0.71))
    assert not any(row.cells[0].reached for row in missed)


def test_the_page_says_what_was_tried_and_what_was_reached(history):
    asked = with_goals(history, coverage=0.6)
    write_report(asked.run)
    page = asked.run.storage.read_bytes(REPORT).decode()
    assert "changed: 8 made, 3 validated, 5 used" in page
    assert 'id="criteria"' in page and "70.0% ✓" in page
    assert page.count("a synthetic sample for 1") == 4


def test_status_counts_gaps_and_names_rare_labels(history):
    storage = history.run.storage
    before = storage.read_bytes("rounds/0003/gaps.json")
    storage.write_record("rounds/0003/gaps.json", found([gap("aaaaaa")], {"1": 5.0, "二": 2.0}))
    assert gap_lines(history.run) == [
        f"{NAME}: 1 gap with few labels, 20% of the pool",
        f"{NAME}: few samples with label 1, 二",
    ]
    storage.write_bytes("rounds/0003/gaps.json", before)


def lack(name, missing, gap=None, searched=0):
    return Lack(NAME, Seen(name, "", missing, gap), 1, None, searched, ())


def test_of_a_thousand_lacks_gaps_and_what_was_tried_are_shown_then_the_largest(monkeypatch):
    monkeypatch.setattr(refill, "LACKS_SHOWN", 4)
    few, tried, most = lack("few", 1.0), lack("tried", 1.0, searched=2), lack("most", 9.0)
    of_gap = lack("gap", 0.5, gap("aaaaaa"))
    everything = [few, most, lack("some", 3.0), tried, lack("little", 0.1), of_gap]
    assert [each.seen.name for each in shown_lacks(everything)] == ["most", "some", "tried", "gap"]
    assert shown_lacks(everything[:3]) == everything[:3]


def test_the_page_says_how_many_lacks_are_not_shown(history, monkeypatch):
    monkeypatch.setattr(refill, "LACKS_SHOWN", 2)
    write_report(history.run)
    page = history.run.storage.read_bytes(REPORT).decode()
    assert f">{len(lacks(history)) - 2} more are not shown" in page


def test_status_names_the_first_of_many_domains(history, monkeypatch):
    monkeypatch.setattr(gaps, "LINES_SHOWN", 1)
    some = found([], {"1": 5.0}).domains[NAME]
    many = SimpleNamespace(domains={f"shapes/{name}": some for name in ("a", "b", "c")})
    monkeypatch.setattr(gaps, "gaps_after", lambda *_: many)
    assert gap_lines(history.run) == [
        "shapes/a: few samples with label 1",
        "and so on in 2 more domains: umc report",
    ]
