"""Who is in the ensembles, in a line for each task."""

from types import SimpleNamespace

import pytest

from umc_ray.campaign.documents import Rescored, RescoredPool
from umc_ray.report import ensemble
from umc_ray.report.ensemble import ensemble_lines
from umc_ray.specialists.combination import SpecialistReport
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage


def report(weight, dropped="", epochs=None):
    return SpecialistReport(0.5, None, 60, "w", {}, epochs, weight, dropped)


def run_with(specialists, storage, rejected=(), domains=None):
    storage.write_json("f/decision.json", {"weights": [1.0], "domains": domains or {}})
    ensembles = {name: EnsembleRef("f", ("head",), "v", rejected=rejected) for name in specialists}
    return SimpleNamespace(
        finished_rounds=2,
        newest=lambda number: number - 1,
        storage=storage,
        training=lambda _: SimpleNamespace(specialists=specialists, ensembles=ensembles),
    )


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def test_members_are_named_by_weight_and_those_left_out_with_the_reason(storage):
    specialists = {
        "mood": {"head": report(0.3), "tuned": report(0.7, epochs=3)},
        "topics": {
            "head": report(1.0),
            "tuned": report(0.0, "held-out log-loss 0.9 with it, 0.8 without"),
        },
        "alone": {"head": report(1.0)},
    }
    assert ensemble_lines(run_with(specialists, storage)) == [
        "mood: tuned counts 70% (fine-tuned, 3 epochs), head counts 30%",
        "topics: head counts 100%; tuned left out: held-out log-loss 0.9 with it, 0.8 without",
    ]


def test_how_much_fine_tuned_specialists_scored_is_said_where_heads_score_first(storage):
    run = run_with({"mood": {"head": report(0.3), "tuned": report(0.7, epochs=3)}}, storage)
    run.storage.write_record(
        "rounds/0002/rescored.json", Rescored({"mood": RescoredPool(2500, 40_000)})
    )
    (line,) = ensemble_lines(run)
    assert line.endswith(
        "; fine-tuned specialists re-scored 2,500 of 40,000 samples, heads scored the others"
    )


def test_one_that_is_not_tried_in_each_round_is_named(storage):
    run = run_with({"mood": {"head": report(1.0)}}, storage, rejected=(("tuned", 120),))
    assert ensemble_lines(run) == [
        "mood: head counts 100%; tuned left out: it did not pay with 120 labels"
    ]


def test_domains_in_which_an_ensemble_is_surer_or_less_sure_are_named(storage):
    domains = {"posts": 0.8, "mail": 1.01, "notes": 1.25}
    run = run_with({"mood": {"head": report(1.0)}}, storage, domains=domains)
    assert ensemble_lines(run) == ["mood: as sure as overall times 1.25 in notes, 0.80 in posts"]


def test_before_training_there_is_nothing_to_say():
    assert ensemble_lines(SimpleNamespace(finished_rounds=0, training=lambda _: None)) == []


def test_of_many_domains_those_that_differ_most_are_named(storage, monkeypatch):
    monkeypatch.setattr(ensemble, "DOMAINS_SHOWN", 2)
    domains = {"posts": 0.9, "mail": 0.7, "notes": 1.25}
    run = run_with({"mood": {"head": report(1.0)}}, storage, domains=domains)
    (line,) = ensemble_lines(run)
    assert line == (
        "mood: as sure as overall times 1.25 in notes, 0.70 in mail and so on in 1 more"
    )
