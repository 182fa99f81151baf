from dataclasses import replace

import numpy as np
import pyarrow as pa

from umc_ray.diversity.synthetic import PLACED
from umc_ray.diversity.validation import (
    Verdict,
    acceptance,
    choose_validation,
    human_ratings,
    standings,
)
from umc_ray.methods.identity import uniform
from umc_ray.methods.intervals import wilson_interval
from umc_ray.records import BATCH

YES = Verdict("good", 1, 1.0, 1, 2.0)
NO = replace(YES, label=None, votes=0)
OTHER = replace(YES, label="bad")
NOBODY = frozenset()


def samples(n, **changes):
    row = {
        "task": "mood",
        "domain": "posts",
        "part": "synthetic-a",
        "gap": "g1",
        "generator": "writer",
        "version": "1",
        "seed": 0,
        "exemplars": [900],
        "prompt": "write",
        "label": "good",
        **changes,
    }
    rows = [{**row, "row": i, "sample_id": 100 + i} for i in range(n)]
    return pa.Table.from_pylist(rows, PLACED)


def by_chance(n, seed=0):
    """The ids of n samples in the order in which they are drawn."""
    ids = np.arange(100, 100 + n)
    return ids[np.argsort(uniform(ids, seed, "validate"))].tolist()


def given(verdicts, **changes):
    return {("mood", sample_id): replace(v, **changes) for sample_id, v in verdicts.items()}


def found(table):
    columns = (table[name].to_pylist() for name in ("sample_id", "standing", "label"))
    return {i: (standing, label) for i, standing, label in zip(*columns, strict=True)}


def test_people_accept_fix_and_reject_and_the_rest_stays_open():
    verdicts = given({100: YES, 101: OTHER, 102: NO})
    assert found(standings(samples(4), verdicts, NOBODY, 0.9, 0)) == {
        100: ("accepted", "good"),
        101: ("fixed", "bad"),
        102: ("rejected", None),
        103: ("open", None),
    }


def test_a_kind_is_admitted_from_a_random_sample_only():
    drawn = by_chance(60)
    enough = given(dict.fromkeys(drawn[:35], YES))
    assert {each[0] for each in found(standings(samples(60), enough, NOBODY, 0.9, 0)).values()} == {
        "accepted",
        "admitted",
    }
    # As many that were accepted, but the first of the random order was not asked about.
    chosen = given(dict.fromkeys(drawn[1:36], YES))
    table = standings(samples(60), chosen, NOBODY, 0.9, 0)
    assert "admitted" not in table["standing"].to_pylist()
    assert acceptance(table, 1, 0).groups[0].rate is None


def test_quality_is_the_mean_over_rated_samples_that_were_drawn_at_random():
    drawn = by_chance(9)
    verdicts = given(
        {
            drawn[0]: replace(YES, quality=5.0),
            drawn[1]: replace(NO, quality=2.0),
            drawn[2]: YES,  # nobody rated it
            drawn[8]: replace(YES, quality=1.0),  # chosen because it is ambiguous
        }
    )
    (found,) = human_ratings(standings(samples(9), verdicts, NOBODY, 0.9, 0), 0)
    assert (found.generator, found.rated, found.quality.value) == ("writer", 2, 3.5)
    low, high = wilson_interval(2 * 2.5 / 4, 2)
    assert (found.quality.low, found.quality.high) == (1 + 4 * low, 1 + 4 * high)
    assert human_ratings(standings(samples(9), {}, NOBODY, 0.9, 0), 0) == ()


def test_rejected_and_refused_samples_are_not_admitted_with_the_others():
    drawn = by_chance(200)
    verdicts = given({**dict.fromkeys(drawn[:100], YES), drawn[3]: NO})
    table = standings(samples(200), verdicts, frozenset({drawn[150]}), 0.9, 0)
    assert found(table)[drawn[3]] == ("rejected", None)
    assert found(table)[drawn[150]] == ("refused", None)
    assert found(table)[drawn[151]] == ("admitted", "good")


def test_what_was_made_from_a_forgotten_sample_is_not_used_even_if_people_accepted_it():
    table = standings(samples(2), given({100: YES}), frozenset({900}), 0.9, 0)
    assert found(table) == {100: ("refused", None), 101: ("refused", None)}


def test_acceptance_is_told_by_gap_with_an_interval_and_by_round_with_its_cost():
    both = pa.concat_tables([samples(3), samples(3, gap="g2")])
    both = both.set_column(4, PLACED.field("sample_id"), pa.array(range(100, 106)))
    drawn = by_chance(6)
    verdicts = given({drawn[0]: YES, drawn[1]: NO, drawn[2]: OTHER}, round=2)
    summary = acceptance(standings(both, verdicts, NOBODY, 0.9, 0), 2, 0)
    assert (summary.validated, summary.cost) == (3, 6.0)
    assert [(each.gap, each.made) for each in summary.groups] == [("g1", 3), ("g2", 3)]
    assert sum(each.drawn for each in summary.groups) == 3
    assert sum(each.count("accepted") for each in summary.groups) == 1
    with_rate = [each.rate for each in summary.groups if each.rate]
    assert all(each.low <= each.value <= each.high for each in with_rate)
    assert acceptance(standings(both, verdicts, NOBODY, 0.9, 0), 1, 0).validated == 0


def test_half_of_the_questions_are_drawn_and_half_are_the_most_ambiguous():
    table = standings(samples(20), {}, NOBODY, 0.9, 0)
    probability = np.full(20, 0.99)
    probability[[4, 9, 13]] = [0.5, 0.45, 0.6]
    batch = choose_validation(table, NOBODY, probability, 6, 0)
    assert batch.schema == BATCH
    ids = batch["sample_id"].to_pylist()
    assert ids[:3] == by_chance(20)[:3]
    ambiguous = [i for i in (104, 109, 113) if i not in ids[:3]]
    assert ids[3 : 3 + len(ambiguous)] == ambiguous
    assert len(set(ids)) == 6
    assert set(batch["predicted"].to_pylist()) == {"good"}
    assert "made by writer for good" in batch["why"].to_pylist()[0]


def test_nobody_is_asked_twice_or_about_what_a_filter_refused():
    table = standings(samples(5), {}, frozenset({100}), 0.9, 0)
    batch = choose_validation(table, frozenset({101, 102}), np.full(5, np.nan), 9, 0)
    assert sorted(batch["sample_id"].to_pylist()) == [103, 104]
    assert len(choose_validation(table, frozenset(range(200)), np.full(5, 0.5), 9, 0)) == 0
