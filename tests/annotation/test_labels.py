import pyarrow as pa
import pytest

from umc_ray.annotation.labels import label_table, places_of, tied
from umc_ray.annotation.store import Answer
from umc_ray.records import BATCH, LABELS, DomainKey
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

KINDS = {
    "mood": Classification(("bad", "good", "mixed")),
    "shapes": Classification(("circle", "square")),
    "topics": MultiLabel(("art", "law", "war")),
}
COSTS = {
    DomainKey("mood", "posts"): 1.5,
    DomainKey("mood", "news"): 4.0,
    DomainKey("shapes", "scans"): 1.0,
    DomainKey("topics", "wire"): 2.0,
}
PLACES = {
    (task, sample_id): (f"part-{sample_id}", 10 * sample_id)
    for task in KINDS
    for sample_id in (5, 7, 8)
}


def answer(domain_key, sample_id, annotator, label):
    task, domain = domain_key.split("/")
    return Answer("tiny", task, domain, sample_id, annotator, label, round=2)


def table(*answers):
    return label_table(answers, KINDS, COSTS, 2, PLACES)


def test_most_votes_win_and_every_answer_costs():
    labels = table(
        answer("mood/news", 7, "ann", "good"),
        answer("mood/posts", 5, "ann", "bad"),
        answer("mood/news", 7, "bob", "mixed"),
        answer("mood/news", 7, "cem", "good"),
        answer("mood/posts", 5, "bob", None),
        answer("shapes/scans", 5, "ann", "square"),
    )
    assert labels.schema == LABELS
    assert labels.to_pylist() == [
        row("mood", "posts", 5, label="bad", votes=1, agreement=1.0, cost=3.0),
        row("mood", "news", 7, label="good", votes=3, agreement=pytest.approx(2 / 3), cost=12.0),
        row("shapes", "scans", 5, label="square", votes=1, agreement=1.0, cost=1.0),
    ]


def row(task, domain, sample_id, **values):
    part, line = PLACES[task, sample_id]
    place = {"task": task, "domain": domain, "part": part, "row": line, "sample_id": sample_id}
    return {**place, "round": 2, "tied": False, **values}


def test_a_tie_does_not_count_as_certain_and_is_known():
    given = [answer("mood/news", 7, "ann", "good"), answer("mood/news", 7, "bob", "bad")]
    found = table(*given)
    assert found["agreement"].to_pylist() == [0.5]
    assert found["tied"].to_pylist() == [True]
    assert table(*given, answer("mood/news", 7, "cem", "bad"))["tied"].to_pylist() == [False]
    assert found["label"].to_pylist()[0] in ("bad", "good")
    skip = answer("mood/news", 7, "cem", None)
    assert tied([*given, skip, answer("mood/news", 8, "ann", "good")], KINDS) == {("mood", 7)}
    assert tied([*given, answer("mood/news", 7, "dan", "bad")], KINDS) == set()


def test_what_all_skipped_has_no_label():
    assert table(answer("mood/news", 7, "ann", None)).num_rows == 0
    assert table().schema == LABELS


def test_what_a_reviewer_decided_counts_and_votes_are_still_paid():
    votes = [answer("mood/news", i, name, label) for i in (7, 8) for name, label in VOTES.items()]
    decided = [answer("mood/news", 7, "rev", "bad"), answer("mood/news", 8, "rev", None)]
    found = label_table(votes, KINDS, COSTS, 2, PLACES, {each.key: each for each in decided})
    expected = row(
        "mood", "news", 7, label="bad", votes=3, agreement=pytest.approx(1 / 3), cost=12.0
    )
    assert found.to_pylist() == [expected]


def test_what_a_reviewer_decided_counts_where_all_skipped():
    skipped = answer("mood/news", 7, "ann", None)
    decided = answer("mood/news", 7, "rev", "bad")
    (found,) = label_table([skipped], KINDS, COSTS, 2, PLACES, {decided.key: decided}).to_pylist()
    assert (found["label"], found["votes"], found["agreement"]) == ("bad", 0, 1.0)


def test_what_a_reviewer_decided_counts_for_its_own_task_alone():
    votes = [answer("mood/news", 7, "ann", "good"), answer("shapes/scans", 7, "ann", "square")]
    decided = answer("mood/news", 7, "rev", "bad")
    found = label_table(votes, KINDS, COSTS, 2, PLACES, {decided.key: decided})
    assert found["label"].to_pylist() == ["bad", "square"]


def test_of_several_labels_those_win_that_more_than_half_gave():
    found = table(
        answer("topics/wire", 5, "ann", "art | law"),
        answer("topics/wire", 5, "bob", "art"),
        answer("topics/wire", 5, "cem", "war"),
        answer("topics/wire", 7, "ann", "law"),
        answer("topics/wire", 7, "bob", "war"),
    )
    assert found["label"].to_pylist() == ["art", "(none)"]
    # the mean Jaccard index of the votes and the label
    assert found["agreement"].to_pylist() == [pytest.approx((0.5 + 1 + 0) / 3), 0.0]
    assert found["votes"].to_pylist() == [3, 2]
    assert found["cost"].to_pylist() == [6.0, 4.0]


def test_a_sample_is_where_its_batch_says():
    rows = [
        {"task": "mood", "domain": "news", "part": "b", "row": 3, "sample_id": 7},
        {"task": "shapes", "domain": "scans", "part": "a", "row": 0, "sample_id": 7},
    ]
    batch = pa.Table.from_pylist(rows, schema=BATCH)
    assert places_of(batch) == {("mood", 7): ("b", 3), ("shapes", 7): ("a", 0)}


VOTES = {"ann": "good", "bob": "bad", "cem": "good"}
