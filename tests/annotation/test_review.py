from dataclasses import replace

import pytest

from umc_ray.annotation.labels import tied
from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.review import (
    ask_one_more,
    decide,
    decisions,
    reopen,
    review_queue,
)
from umc_ray.annotation.schema import REVIEWER
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import StoreError
from umc_ray.tasks.generation import Generation


def answer(sample_id, annotator, label):
    return Answer("camp", "tone", "mail", sample_id, annotator, label, 1)


@pytest.fixture
def voted(store):
    """Sample 0 is unanimous, 1 is two to one, 2 is one each (one skip), 3 misses a vote."""
    store.submit([Question("camp", 1, "tone", "mail", i, votes=3) for i in range(4)])
    table = {0: ["good"] * 3, 1: ["good", "bad", "good"], 2: ["good", "bad", None], 3: ["bad"] * 2}
    votes = [answer(i, f"p{k}", label) for i, row in table.items() for k, label in enumerate(row)]
    store.record(votes, [f"{vote.sample_id}{vote.annotator}" for vote in votes])
    return store


def test_the_review_queue_has_complete_questions_by_ascending_agreement(voted):
    cases = [(case.question.sample_id, case.agreement) for case in review_queue(voted, "camp")]
    assert cases == [(2, pytest.approx(1 / 3)), (1, pytest.approx(2 / 3))]
    assert [c.question.sample_id for c in review_queue(voted, "camp", below=0.5)] == [2]


def test_a_flagged_question_comes_up_for_review_with_what_people_said(voted):
    for kind in ("flag", "note"):
        said = replace(answer(0, "p1", None), reason=f"a {kind}")
        voted.record_as(kind, [said], [kind])
    case = review_queue(voted, "camp")[-1]
    assert (case.question.sample_id, case.agreement) == (0, 1)
    assert [each.reason for each in (*case.flags, *case.notes)] == ["a flag", "a note"]
    decide(voted, answer(0, "rev", "good"), "r")
    assert [case.question.sample_id for case in review_queue(voted, "camp")] == [2, 1]


def test_a_forgotten_sample_does_not_come_up(voted):
    voted.submit([Question("camp", 1, "tone", "mail", 7)])
    voted.withdraw([("camp", "tone", each) for each in (7, 2)])
    assert [case.question.sample_id for case in review_queue(voted, "camp")] == [1]


def test_a_decision_removes_the_question_from_the_queue_but_keeps_its_answers(voted):
    before = voted.answers("camp")
    decide(voted, answer(2, "rev", "bad"), "r1")
    decide(voted, answer(2, "rev", "good"), "r2")
    assert [case.question.sample_id for case in review_queue(voted, "camp")] == [1]
    assert [each.label for each in decisions(voted, "camp").values()] == ["good"]
    assert voted.answers("camp") == before
    assert voted.progress("camp") == (3, 4)


def test_a_decision_without_a_question_is_rejected(voted):
    with pytest.raises(StoreError, match="is not in round"):
        decide(voted, answer(9, "rev", "bad"), "r")


def in_queue(store, **how):
    return [case.question.sample_id for case in review_queue(store, "camp", **how)]


def test_a_decision_that_is_taken_back_comes_up_again_until_it_is_decided_anew(voted):
    decide(voted, answer(2, "rev", "bad"), "r1")
    reopen(voted, answer(2, "rev", None), "u1")
    assert (in_queue(voted), decisions(voted, "camp")) == ([2, 1], {})
    decide(voted, answer(2, "rev", "good"), "r2")
    reopen(voted, answer(2, "other", None), "u2")  # who takes back nothing of their own
    assert in_queue(voted) == [1]
    assert [each.label for each in decisions(voted, "camp").values()] == ["good"]


def test_one_more_person_is_asked_once_for_each_request(voted):
    ask_one_more(voted, answer(2, "rev", None), "a")
    ask_one_more(voted, answer(2, "rev", None), "a")
    assert in_queue(voted) == [1]
    assert {each.sample_id: each.votes for each in voted.open_questions("camp")} == {2: 4, 3: 3}
    (question,) = LeaseManager(voted, "camp", "new").claim(1)
    assert question.sample_id == 2
    voted.record([answer(2, "new", "good")], ["n"])
    assert in_queue(voted) == [2, 1]
    voted.submit([Question("camp", 2, "tone", "mail", 9)])
    voted.close_round("camp", 1)
    with pytest.raises(StoreError, match="its round is closed"):
        ask_one_more(voted, answer(1, "rev", None), "b")


def test_a_random_share_comes_up_whatever_the_answers(store):
    store.submit([Question("camp", 1, "tone", "mail", i) for i in range(400)])
    store.record([answer(i, "p", "good") for i in range(400)], [str(i) for i in range(400)])
    few, many = set(in_queue(store, spot_check=0.1)), set(in_queue(store, spot_check=0.3))
    assert few < many
    assert (len(few), len(many)) == (pytest.approx(40, abs=20), pytest.approx(120, abs=40))
    assert in_queue(store) == []
    assert len(in_queue(store, spot_check=1)) == 400


def reviewing(store, name):
    return LeaseManager(store, "camp", f"{REVIEWER}{name}", 60)


def test_reviewers_hold_different_cases_that_people_can_still_be_asked_about(voted, clock):
    cases = [case.question for case in review_queue(voted, "camp")]
    assert [each.sample_id for each in reviewing(voted, "eve").claim_cases(cases, 1)] == [2]
    assert [each.sample_id for each in reviewing(voted, "eve").claim_cases(cases, 1)] == [2]
    assert [each.sample_id for each in reviewing(voted, "bob").claim_cases(cases, 9)] == [1]
    ask_one_more(voted, answer(2, "eve", None), "a")
    assert [each.sample_id for each in LeaseManager(voted, "camp", "new").claim(1)] == [2]
    clock.now += 50
    reviewing(voted, "eve").heartbeat()
    clock.now += 20
    assert [each.sample_id for each in reviewing(voted, "bob").claim_cases(cases, 9)] == [1]
    reviewing(voted, "eve").release()
    assert [each.sample_id for each in reviewing(voted, "bob").claim_cases(cases, 9)] == [2, 1]


def test_of_texts_only_ties_are_for_a_reviewer(store):
    """Two of sample 0 differ from the third, none of 1 is the middle, 2 has a skip."""
    kinds = {"tone": Generation()}
    store.submit([Question("camp", 1, "tone", "mail", i, votes=3) for i in range(4)])
    table = {
        0: ["der Hund schlief", "der Hund schläft", "ein Hund schlief"],
        1: ["aaa", "bbb", "ccc"],
        2: ["gut", "gut", None],
        3: ["gut", "gut", "schlecht"],
    }
    votes = [answer(i, f"p{k}", label) for i, row in table.items() for k, label in enumerate(row)]
    store.record(votes, [f"{vote.sample_id}{vote.annotator}" for vote in votes])
    assert in_queue(store, kinds=kinds) == [1, 2]
    assert in_queue(store) == [0, 1, 2, 3]
    assert tied(store.answers("camp"), kinds) == {("tone", 1)}
