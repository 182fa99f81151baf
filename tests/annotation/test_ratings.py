"""Scores of synthetic samples: the last one of each person counts."""

from contextlib import closing

from umc_ray.annotation.ratings import RATING, change_key, rated, ratings
from umc_ray.annotation.store import AnnotationStore, Question


def test_the_last_score_of_each_person_counts():
    question = Question("c", 1, "mood", "posts", 7)
    with closing(AnnotationStore("sqlite://")) as store:
        store.submit([question])
        for person, score in (("ann", "2"), ("bob", "5"), ("ann", "4")):
            event = rated(question, person, score)
            last = ratings(store, "c").get((question.key, person))
            store.record_as(RATING, [event], [change_key(event, last)])
        assert ratings(store, "c") == {(question.key, "ann"): 4, (question.key, "bob"): 5}
        assert store.answers("c") == []  # a score is no answer
        assert store.progress("c") == (0, 1)
