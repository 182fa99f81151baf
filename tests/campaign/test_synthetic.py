import csv
from contextlib import closing
from pathlib import Path

import pytest

from tests.web.test_synthetic import TEXTS, make
from tests.web.worlds import TEXT, answer, ids, write_world
from umc_ray.annotation.backends.sheet import SheetBackend
from umc_ray.annotation.review import decide
from umc_ray.campaign.label_changes import _rename_known
from umc_ray.campaign.run import Run
from umc_ray.campaign.stages import Stages
from umc_ray.campaign.synthetic import (
    open_validation,
    questions_to_validate,
    settle,
    standings_changed,
    standings_now,
)
from umc_ray.config.refine import RefineConfig
from umc_ray.ingest.forgotten import remember_forgotten


@pytest.fixture
def run(tmp_path):
    """A campaign in its second round, with three synthetic samples: good, good and bad."""
    refine = RefineConfig(share=0.5)
    run = Run(write_world(tmp_path, (TEXT,)).config.model_copy(update={"refine": refine}))
    run.__dict__["stages"] = Stages(run.storage, (), lambda: None)
    with closing(run.store):
        yield run


@pytest.fixture
def asked(run):
    """The ids of the synthetic samples, which three people are asked about in round 2."""
    questions = make(run, TEXT)
    run.store.submit(questions)
    return [each.sample_id for each in questions]


def say(run, sample_id, *labels):
    people = [answer(sample_id, f"person {i}", label) for i, label in enumerate(labels)]
    run.store.record(people, [f"{sample_id}/{i}/{label}" for i, label in enumerate(labels)])


def found(run, rounds=2):
    rows = standings_now(run, rounds).to_pylist()
    return [(row["standing"], row["label"], row["votes"], row["cost"]) for row in rows]


def test_a_round_chooses_at_most_its_share_once_and_nobody_is_asked_twice(run):
    make(run, TEXT)
    first = open_validation(run, 3, budget=4)
    assert len(first) == 2
    assert open_validation(run, 3, budget=4).equals(first)
    for _ in range(2):  # a run that was killed asks again
        run.store.submit(questions_to_validate(run, 3, first))
    made = [each for each in run.store.questions("tiny") if each.payload.made]
    assert sorted(each.sample_id for each in made) == sorted(first["sample_id"].to_pylist())
    assert {each.payload.made.exemplars for each in made} == {tuple(ids(TEXT, 1)[:2])}
    assert run.spent() == sum(len(each) for each in run.queried().values()) + 2
    rest = open_validation(run, 4, budget=20)
    assert len(rest) == 1
    assert not {*rest["sample_id"].to_pylist()} & {*first["sample_id"].to_pylist()}


def test_a_round_always_asks_about_the_pool_and_one_that_was_split_stays_as_it_is(run):
    make(run, TEXT)
    assert len(open_validation(run, 3, budget=1)) == 0
    run.storage.write_json("rounds/0004/allocation.json", {})
    assert len(open_validation(run, 4, budget=20)) == 0


def test_half_of_the_answers_reject_a_sample_and_a_reviewer_has_the_last_word(run, asked):
    say(run, asked[0], "good", "good", None)
    say(run, asked[1], "good", None)
    say(run, asked[2], "good", "good", "bad")
    assert found(run) == [
        ("accepted", "good", 2, 3.0),
        ("rejected", None, 1, 2.0),
        ("fixed", "good", 3, 3.0),
    ]
    assert {each[0] for each in found(run, rounds=1)} == {"open"}  # round 2 was not over then
    decide(run.store, answer(asked[0], "boss", None), "1")
    decide(run.store, answer(asked[1], "boss", "bad"), "2")
    assert [each[:2] for each in found(run)] == [
        ("rejected", None),
        ("fixed", "bad"),
        ("fixed", "good"),
    ]


def test_an_answer_that_changes_counts_from_the_next_training_on(run, asked):
    for sample_id in asked:
        say(run, sample_id, "good")
    summary = settle(run, 2)
    assert (summary.validated, summary.cost) == (3, 3.0)
    assert not standings_changed(run, 2)
    say(run, asked[0], None)
    assert standings_changed(run, 2)


def test_a_sheet_says_what_is_synthetic_and_skip_rejects_it(run, asked):
    sheet = SheetBackend(run.store, "tiny", run.storage, run.askable_parts(), run.kinds)
    sheet.collect(2)
    path = Path(run.storage.path("rounds/0002/sheet.csv"))
    rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["sample"] for row in rows] == list(TEXTS)
    assert [row["suggestion"] for row in rows] == ["good", "good", "bad"]
    for row, label in zip(rows, ("good", "bad", "skip"), strict=True):
        row["label"] = label
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    sheet.collect(2)
    assert [each[0] for each in found(run)] == ["accepted", "fixed", "rejected"]


def test_what_was_made_from_a_forgotten_sample_goes_with_it(run, asked):
    say(run, asked[0], "good")
    remember_forgotten(run.storage, TEXT, [ids(TEXT, 1)[0]])
    assert {each[:2] for each in found(run)} == {("refused", None)}


def test_a_renamed_label_is_that_of_synthetic_samples_too(run):
    make(run, TEXT)
    _rename_known(run.storage, TEXT, lambda label: {"good": "fine"}.get(label, label))
    made_for = standings_now(run, 1)["made_for"].to_pylist()
    assert made_for == ["fine", "fine", "bad"]
