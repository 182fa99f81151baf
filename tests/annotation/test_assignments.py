import pytest

from umc_ray.annotation.assignments import (
    assign,
    open_assignments,
    set_skills,
    skills,
    unassign,
    unassign_all,
)
from umc_ray.annotation.history import count_left
from umc_ray.annotation.leases import LeaseManager, release_all
from umc_ray.annotation.schema import REVIEWER
from umc_ray.annotation.store import Answer, Question
from umc_ray.errors import StoreError
from umc_ray.records import DomainKey

MAIL, NEWS = DomainKey("tone", "mail"), DomainKey("tone", "news")


def ask(store, domain, numbers, votes=1):
    store.submit(
        [Question("camp", 1, "tone", domain, i, votes, priority=-float(i)) for i in numbers]
    )


def key(number):
    return "camp", "tone", number


def of(store, name, domains=()):
    return LeaseManager(store, "camp", name, domains=domains)


def ids(questions):
    return [question.sample_id for question in questions]


def answer(store, number, name, domain="mail"):
    store.record([Answer("camp", "tone", domain, number, name, "good", 1)], [f"{number} {name}"])


def test_what_is_assigned_to_a_person_comes_first_and_to_nobody_else(store):
    ask(store, "mail", range(4))
    assert assign(store, [key(2), key(3)], "bob", "eve") == 2
    assert count_left(store, "camp", "ann") == 2
    assert count_left(store, "camp", "bob") == 4
    assert ids(of(store, "ann").claim(4)) == [0, 1]
    assert ids(of(store, "bob").claim(3)) == [2, 3]
    assert open_assignments(store, "camp") == {key(2): "bob", key(3): "bob"}
    answer(store, 2, "bob")
    assert open_assignments(store, "camp") == {key(3): "bob"}


def test_an_assignment_takes_one_vote_and_leaves_the_others(store):
    ask(store, "mail", [7], votes=2)
    assign(store, [key(7)], "bob", "eve")
    assert ids(of(store, "ann").claim(1)) == [7]
    assert ids(of(store, "cyd").claim(1)) == []
    assert ids(of(store, "bob").claim(1)) == [7]
    of(store, "ann").release()
    assert ids(of(store, "cyd").claim(1)) == [7]  # the vote of bob, who holds it, counts once


def test_a_question_is_given_to_another_or_to_everybody_again(store):
    ask(store, "mail", range(3))
    assign(store, [key(i) for i in range(3)], "bob", "eve")
    assign(store, [key(1)], "ann", "eve")
    unassign(store, [key(2)])
    assert open_assignments(store, "camp") == {key(0): "bob", key(1): "ann"}
    assert ids(of(store, "ann").claim(3)) == [1, 2]
    unassign_all(store, "bob")
    assert ids(of(store, "ann").claim(3)) == [0]


def test_an_answered_question_that_is_assigned_gets_one_more_vote(store):
    ask(store, "mail", [7])
    answer(store, 7, "ann")
    assert assign(store, [key(7)], "bob", "eve") == 1
    assert store.question(key(7)).votes == 2
    assert ids(of(store, "cyd").claim(1)) == []
    assert ids(of(store, "bob").claim(1)) == [7]
    with pytest.raises(StoreError, match="nothing can be assigned to ann: of 1 questions"):
        assign(store, [key(7)], "ann", "eve")
    store.close_round("camp", 1)
    with pytest.raises(StoreError, match="closed or answered"):
        assign(store, [key(7)], "cyd", "eve")


def test_people_with_domains_get_these_and_what_is_assigned_to_them(store):
    ask(store, "mail", [1, 2])
    ask(store, "news", [3])
    assert ids(of(store, "ann", [NEWS]).claim(9)) == [3]
    assert count_left(store, "camp", "ann", [NEWS]) == 1
    assign(store, [key(2)], "ann", "eve")
    assert ids(of(store, "ann", [NEWS]).claim(9)) == [2]
    assert ids(of(store, "bob", [MAIL, NEWS]).claim(9)) == [1]
    assert ids(of(store, "cyd", [NEWS]).claim_samples([key(1)])) == []


def test_the_domains_of_people_are_stored_by_campaign(store):
    set_skills(store, "camp", "ann", ["tone/mail"])
    set_skills(store, "other", "ann", ["x/y"])
    set_skills(store, "camp", "bob", ["tone/mail"])
    set_skills(store, "camp", "bob", [])
    assert skills(store, "camp") == {"ann": ("tone/mail",), "bob": ()}


def test_the_last_questions_are_shared_so_that_all_finish_together(store):
    ask(store, "mail", range(20), votes=2)
    ann, bob, cyd = (of(store, name) for name in ("ann", "bob", "cyd"))
    assert ann.fair_share(12) == 12  # alone
    ann.claim(2)
    bob.claim(2)
    assert [cyd.fair_share(count) for count in (12, 20)] == [12, 14]  # of 40 votes, by three
    of(store, "rob", [NEWS]).claim(5)  # has nothing, and holds nothing
    for number in range(2, 20):
        answer(store, number, "dan")
        answer(store, number, "eve")
    assert [each.fair_share(12) for each in (ann, bob, cyd)] == [2, 2, 2]  # 4 votes are left
    answer(store, 0, "ann")
    answer(store, 0, "bob")
    answer(store, 1, "ann")
    assert cyd.fair_share(12) == 1
    answer(store, 1, "bob")
    assert cyd.fair_share(12) == 1  # at least one, so that gold questions still come


def test_people_who_leave_give_back_questions_and_cases_of_all_batches(store):
    for queue in ("camp", "camp/extra", "campus"):
        store.submit([Question(queue, 1, "tone", "mail", i) for i in range(2)])
        LeaseManager(store, queue, "ann").claim(1)
        LeaseManager(store, queue, f"{REVIEWER}ann").claim_cases(store.questions(queue)[1:], 1)
        LeaseManager(store, queue, "bob").claim(1)
    release_all(store, "camp", "ann")
    for name, left in (("ann", 0), (f"{REVIEWER}ann", 0), ("bob", 1)):
        assert len(LeaseManager(store, "camp", name).held()) == left
        assert len(LeaseManager(store, "camp/extra", name).held()) == left
        assert len(LeaseManager(store, "campus", name).held()) == 1
