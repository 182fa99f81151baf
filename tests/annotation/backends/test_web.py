import pytest

from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.backends.web import WebBackend
from umc_ray.annotation.review import decide
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import AwaitingAnnotations
from umc_ray.tasks.classification import Classification


@pytest.fixture
def asked(store, tmp_path):
    backend = WebBackend(store, "camp", None, (), {"tone": Classification(("good", "bad"))})
    backend.submit([Question("camp", 1, "tone", "mail", i, votes=2) for i in range(2)])
    return backend


def vote(store, sample_id, annotator, label):
    answer = Answer("camp", "tone", "mail", sample_id, annotator, label, 1)
    store.record([answer], [f"{sample_id}{annotator}"])


def test_a_round_waits_for_people_and_says_where_they_answer(store, asked):
    vote(store, 0, "ann", "good")
    with pytest.raises(AwaitingAnnotations, match=r"0 of 2 answered; .*umc annotate"):
        collect_all(asked, 1)


def test_with_review_a_round_waits_until_what_is_disputed_is_decided(store, asked):
    for sample_id, label in ((0, "good"), (1, "bad")):
        vote(store, sample_id, "ann", label)
        vote(store, sample_id, "bob", "good")
    assert len(collect_all(asked, 1)) == 4
    with pytest.raises(AwaitingAnnotations, match="reviewers must decide 1 of 2"):
        collect_all(asked, 1, review=True)
    decide(store, Answer("camp", "tone", "mail", 1, "rev", "good", 1), "r")
    assert len(collect_all(asked, 1, review=True)) == 4
