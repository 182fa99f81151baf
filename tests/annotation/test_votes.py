import pytest

from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.backends.web import WebBackend
from umc_ray.annotation.store import Answer, Question
from umc_ray.annotation.votes import votes_of
from umc_ray.errors import AwaitingAnnotations
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

AGREED = 20  # samples on which two people agree: they are right nearly always


@pytest.fixture
def backend(store):
    return asking(store, Classification(("good", "bad")), AGREED + 2)


def asking(store, kind, samples):
    backend = WebBackend(store, "camp", None, (), {"tone": kind})
    questions = [Question("camp", 1, "tone", "mail", i, votes=2) for i in range(samples)]
    backend.submit(questions)
    return backend


def vote(store, annotator, labels):
    answers = [Answer("camp", "tone", "mail", i, annotator, v, 1) for i, v in labels.items()]
    store.record(answers, [f"{annotator}{i}" for i in labels])


def votes(store):
    return {asked.sample_id: asked.votes for asked in store.questions("camp", 1)}


def test_another_vote_is_asked_for_where_people_disagree_or_skip_and_no_more_than_allowed(
    store, backend
):
    disputed, skipped = AGREED, AGREED + 1
    agreed = dict.fromkeys(range(AGREED), "good")
    vote(store, "ann", {**agreed, disputed: "good", skipped: None})
    vote(store, "bob", {**agreed, disputed: "bad", skipped: None})
    assert len(collect_all(backend, 1)) == 2 * (AGREED + 2)

    with pytest.raises(AwaitingAnnotations, match=f"{AGREED} of {AGREED + 2} answered"):
        collect_all(backend, 1, max_votes=4)
    assert votes(store) == {**dict.fromkeys(range(AGREED), 2), disputed: 3, skipped: 3}

    vote(store, "cyd", {disputed: None, skipped: "good"})
    with pytest.raises(AwaitingAnnotations):
        collect_all(backend, 1, max_votes=4)
    assert votes(store)[disputed] == 4
    vote(store, "dan", {disputed: None})  # still open, but there were enough
    assert len(collect_all(backend, 1, max_votes=4)) == 2 * (AGREED + 2) + 3
    assert votes(store) == {**dict.fromkeys(range(AGREED), 2), disputed: 4, skipped: 3}


def test_one_label_of_several_in_dispute_is_enough_to_ask_again(store):
    backend = asking(store, MultiLabel(("good", "loud")), AGREED + 1)
    agreed = dict.fromkeys(range(AGREED), "good | loud")
    vote(store, "ann", {**agreed, AGREED: "good | loud"})
    vote(store, "bob", {**agreed, AGREED: "good"})
    with pytest.raises(AwaitingAnnotations):
        collect_all(backend, 1, max_votes=3)
    assert votes(store) == {**dict.fromkeys(range(AGREED), 2), AGREED: 3}


def test_answers_are_votes_of_numbered_people_and_skips_are_none():
    given = [(7, "cem", "good"), (5, "ann", None), (7, "ann", "bad"), (5, "bob", "good")]
    found = votes_of([Answer("camp", "tone", "mail", i, who, label, 1) for i, who, label in given])
    assert found.sample_V.tolist() == [7, 7, 5]
    assert found.person_V.tolist() == [2, 0, 1]
    assert found.text_V == ("good", "bad", "good")
