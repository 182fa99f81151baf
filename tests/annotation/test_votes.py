import pytest

from umc_ray.annotation.backends.backend import collect_all
from umc_ray.annotation.backends.web import WebBackend
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import AwaitingAnnotations

AGREED = 20  # samples on which two people agree: they are right nearly always


@pytest.fixture
def backend(store):
    backend = WebBackend(store, "camp", None, (), {"tone": ("good", "bad")})
    questions = [Question("camp", 1, "tone", "mail", i, votes=2) for i in range(AGREED + 2)]
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
