import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import chain

import pytest

from umc_ray.annotation.leases import LeaseManager
from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.errors import StoreError

LEASE_S = 300


@pytest.fixture
def desks(store):
    return [LeaseManager(store, "camp", name, lease_s=LEASE_S) for name in ("ann", "bob", "cyd")]


def ask(store, count, votes=1, **values):
    """Ask `count` questions of falling importance."""
    store.submit(
        [
            Question("camp", 1, "tone", "mail", i, votes, priority=-float(i), **values)
            for i in range(count)
        ]
    )


def answer(sample_id, annotator, label="good", round=1):
    return Answer("camp", "tone", "mail", sample_id, annotator, label, round)


def ids(questions):
    return [question.sample_id for question in questions]


def test_claims_follow_priority_and_no_question_is_on_more_screens_than_it_has_votes(store, desks):
    ask(store, 3, votes=2)
    assert [ids(desk.claim(2)) for desk in desks] == [[0, 1], [0, 1], [2]]
    assert ids(desks[0].claim(5)) == [2]
    assert ids(desks[2].claim(5)) == []
    assert ids(desks[0].held()) == [0, 1, 2]


def test_a_group_is_claimed_without_what_others_hold_or_have_answered(store, desks):
    ask(store, 6)
    ann, bob, _ = desks
    ann.claim(2)
    store.record([answer(5, "bob")], ["b"])
    group = [("camp", "tone", i) for i in (1, 2, 3, 5)]
    assert ids(bob.claim_samples(group)) == ids(bob.held()) == [2, 3]
    assert ids(ann.claim_samples(group)) == [1]
    assert ann.claim_samples([]) == []


def test_a_lease_runs_out_unless_its_holder_is_there(store, desks, clock):
    ask(store, 2)
    ann, bob, cyd = desks
    assert (ids(ann.claim(1)), ids(bob.claim(1))) == ([0], [1])
    clock.now += LEASE_S - 1
    assert ann.heartbeat() == 1
    clock.now += 2
    assert bob.heartbeat() == 0
    assert (ids(ann.held()), ids(bob.held()), ids(cyd.claim(5))) == ([0], [], [1])


def test_a_lease_that_ran_out_can_be_claimed_again_by_its_holder(store, desks, clock):
    ask(store, 1)
    desks[0].claim(1)
    clock.now += LEASE_S + 1
    assert ids(desks[0].claim(1)) == [0]


def test_given_back_questions_are_free_at_once(store, desks):
    ask(store, 2)
    desks[0].claim(2)
    desks[0].release()
    assert ids(desks[1].claim(2)) == [0, 1]


def test_an_answer_ends_its_lease_and_says_how_long_it_was_held(store, desks, clock):
    ask(store, 1, votes=2)
    desks[0].claim(1)
    clock.now += 12.5
    store.record([answer(0, "ann")], ["a"])
    (kept,) = store.answers("camp")
    assert (kept.held_s, kept.late) == (12.5, False)
    assert ids(desks[0].held()) == ids(desks[0].claim(1)) == []
    assert ids(desks[1].claim(1)) == [0]


def test_a_late_answer_is_kept_and_marked(store, desks, clock):
    ask(store, 1)
    desks[0].claim(1)
    clock.now += LEASE_S + 1
    desks[1].claim(1)
    store.record([answer(0, "bob")], ["b"])
    store.record([answer(0, "ann")], ["a"])
    assert [(kept.annotator, kept.late) for kept in store.answers("camp")] == [
        ("bob", False),
        ("ann", True),
    ]


def test_an_answer_after_its_round_was_closed_is_kept_and_marked(store, desks):
    ask(store, 2)
    store.close_round("camp", 1)
    assert desks[0].claim(2) == store.open_questions("camp") == []
    store.record([answer(0, "ann")], ["a"])
    assert [kept.late for kept in store.answers("camp")] == [True]


def test_undo_takes_answers_back_one_by_one_and_gives_their_questions_back(store, desks):
    ask(store, 12)
    ann = desks[0]
    ann.claim(12)
    for i in range(12):
        store.record([answer(i, "ann")], [f"a{i}"])
    undone = [ann.undo(f"u{i}") for i in range(11)]
    assert [ids(each) for each in undone] == [[i] for i in range(11, 0, -1)]
    assert ids(store.answers("camp")) == ids(ann.history(5)) == [0]
    assert ids(ann.held()) == list(range(1, 12))
    assert ids(desks[1].claim(1)) == []
    assert store.progress("camp") == (1, 12)


def test_a_repeated_undo_request_takes_back_once(store, desks):
    ask(store, 2)
    store.record([answer(0, "ann"), answer(1, "ann")], ["a", "b"])
    assert desks[0].undo("u") == desks[0].undo("u")
    assert ids(store.answers("camp")) == [0]


def test_what_was_answered_as_a_group_is_taken_back_as_a_group(store, desks):
    ask(store, 5)
    store.record([answer(0, "ann")], ["a"])
    group = [replace(answer(i, "ann"), bulk="g") for i in (1, 2, 3)]
    store.record(group, ["b", "c", "d"])
    undone = desks[0].undo("u_1")
    assert sorted(ids(undone)) == [1, 2, 3]
    assert sorted(ids(desks[0].undo("u_1"))) == [1, 2, 3]  # the same request again
    assert ids(store.answers("camp")) == [0]
    assert ids(desks[0].undo("u21")) == [0]


def test_an_undone_question_can_be_answered_anew_and_without_answers_there_is_no_undo(store, desks):
    ask(store, 1)
    assert desks[0].undo("u0") == []
    store.record([answer(0, "ann", "good")], ["a"])
    desks[0].undo("u1")
    store.record([answer(0, "ann", "bad")], ["b"])
    assert [kept.label for kept in store.answers("camp")] == ["bad"]


def test_an_answer_that_was_used_cannot_be_undone(store, desks):
    ask(store, 1)
    store.record([answer(0, "ann")], ["a"])
    store.close_round("camp", 1)
    with pytest.raises(StoreError, match="round 1 is closed"):
        desks[0].undo("u")
    assert ids(store.answers("camp")) == [0]


def test_nobody_undoes_what_others_answered(store, desks):
    ask(store, 1)
    store.record([answer(0, "ann")], ["a"])
    assert desks[1].undo("u") == []


def test_more_votes_reopen_a_question_for_other_people(store, desks):
    ask(store, 2)
    store.record([answer(0, "ann"), answer(1, "ann")], ["a", "b"])
    store.raise_votes(store.questions("camp")[:1], votes=3)
    store.raise_votes(store.questions("camp")[:1], votes=2)
    assert [asked.votes for asked in store.questions("camp")] == [3, 1]
    assert [ids(desk.claim(5)) for desk in desks] == [[], [0], [0]]


def test_gold_questions_come_in_turn_to_everyone_and_are_no_part_of_the_round(store):
    ask(store, 12, votes=2)
    known = [Question("camp", 1, "tone", "mail", 100 + i, gold="good") for i in range(9)]
    store.submit(known)
    for name in ("ann", "bob"):
        desk = LeaseManager(store, "camp", name, gold_every=4)
        seen = []
        while claimed := desk.claim(3):
            seen += ids(claimed)
            keys = [f"{name}{question.sample_id}" for question in claimed]
            store.record([answer(question.sample_id, name) for question in claimed], keys)
            if len(seen) >= 16:
                break
        assert len([i for i in seen if i >= 100]) == 4
    assert store.progress("camp", 1) == (12, 12)
    assert {kept.sample_id for kept in store.answers("camp")} == set(range(12))
    assert {label for _, label in store.gold_answers("camp")} == {"good"}
    assert len(store.gold_answers("camp")) == 8


def test_flags_and_notes_are_kept_beside_the_answers(store):
    ask(store, 1)
    remark = Answer("camp", "tone", "mail", 0, "ann", None, 1, reason="broken text")
    store.record_as("flag", [remark], ["f"])
    store.record_as("flag", [remark], ["f"])
    assert [flag.reason for flag in store.events("flag", "camp")] == ["broken text"]
    assert store.events("note", "camp") == store.answers("camp") == []
    assert store.progress("camp") == (0, 1)


def test_any_order_of_claims_answers_undos_and_absences_completes_without_over_assignment(
    store, clock
):
    dice = random.Random(5)
    names = [f"p{i}" for i in range(5)]
    ask(store, 8, votes=3)
    desks = {name: LeaseManager(store, "camp", name, lease_s=LEASE_S) for name in names}
    for step in range(400):
        name = dice.choice(names)
        held = desks[name].held() or desks[name].claim(dice.randint(1, 4))
        action = dice.random()
        if action < 0.1:
            clock.now += dice.choice([10, LEASE_S + 1])  # others may be away
        elif action < 0.2:
            desks[name].undo(f"undo{step}")
        elif held and desks[name].heartbeat():
            store.record([answer(held[0].sample_id, name)], [f"answer{step}"])
        answers = Counter(ids(store.answers("camp")))
        on_screens = Counter(i for desk in desks.values() for i in ids(desk.held()))
        assert max((answers + on_screens).values(), default=0) <= 3
        if store.progress("camp") == (8, 8):
            break
    assert answers == dict.fromkeys(range(8), 3)
    pairs = {(kept.sample_id, kept.annotator) for kept in store.answers("camp")}
    assert len(pairs) == 24


def test_people_who_claim_at_once_never_share_a_vote(url, store):
    ask(store, 150)

    def work(name):
        claimed = []
        with closing(AnnotationStore(url)) as own:
            desk = LeaseManager(own, "camp", name)
            while some := desk.claim(1):
                claimed += ids(some)
        return claimed

    with ThreadPoolExecutor(5) as people:
        claimed = Counter(chain(*people.map(work, [f"p{i}" for i in range(5)])))
    assert claimed == dict.fromkeys(range(150), 1)
