import pytest

from umc_ray.annotation.labels import label_table
from umc_ray.annotation.store import Answer
from umc_ray.records import LABELS, DomainKey

CLASSES = {"mood": ("bad", "good", "mixed"), "shapes": ("circle", "square")}
COSTS = {
    DomainKey("mood", "posts"): 1.5,
    DomainKey("mood", "news"): 4.0,
    DomainKey("shapes", "scans"): 1.0,
}


def answer(domain_key, sample_id, annotator, label):
    task, domain = domain_key.split("/")
    return Answer("tiny", task, domain, sample_id, annotator, label, round=2)


def table(*answers):
    return label_table(answers, CLASSES, COSTS, 2)


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
        row("mood", "posts", 5, label=0, votes=1, agreement=1.0, cost=3.0),
        row("mood", "news", 7, label=1, votes=3, agreement=pytest.approx(2 / 3), cost=12.0),
        row("shapes", "scans", 5, label=1, votes=1, agreement=1.0, cost=1.0),
    ]


def row(task, domain, sample_id, **values):
    return {"task": task, "domain": domain, "sample_id": sample_id, "round": 2, **values}


def test_a_tie_goes_to_the_class_that_comes_first():
    labels = table(answer("mood/news", 7, "ann", "good"), answer("mood/news", 7, "bob", "bad"))
    assert (labels["label"].to_pylist(), labels["agreement"].to_pylist()) == ([0], [0.5])


def test_what_all_skipped_has_no_label():
    assert table(answer("mood/news", 7, "ann", None)).num_rows == 0
    assert table().schema == LABELS


def test_what_a_reviewer_decided_counts_and_votes_are_still_paid():
    votes = [answer("mood/news", i, name, label) for i in (7, 8) for name, label in VOTES.items()]
    decided = [answer("mood/news", 7, "rev", "bad"), answer("mood/news", 8, "rev", None)]
    labels = label_table(votes, CLASSES, COSTS, 2, {each.key: each for each in decided})
    expected = row("mood", "news", 7, label=0, votes=3, agreement=pytest.approx(1 / 3), cost=12.0)
    assert labels.to_pylist() == [expected]


VOTES = {"ann": "good", "bob": "bad", "cem": "good"}
