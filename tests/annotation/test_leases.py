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
def managers(store):
    return [LeaseManager(store, "camp", name, lease_s=LEASE_S) for name in ("ann", "bob", "cyd")]


def ask(store, count, votes=1, **values):
    """Submit `count` questions with descending priority."""
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


def test_claims_follow_priority_and_never_exceed_the_votes(store, managers):
    ask(store, 3, votes=2)
    assert [ids(manager.claim(2)) for manager in managers] == [[0, 1], [0, 1], [2]]
    assert ids(managers[0].claim(5)) == [2]
    assert ids(managers[2].claim(5)) == []
    assert ids(managers[0].held()) == [0, 1, 2]


def test_claiming_a_group_skips_samples_that_are_held_or_answered(store, managers):
    ask(store, 6)
    ann, bob, _ = managers
    ann.claim(2)
    store.record([answer(5, "bob")], ["b"])
    group = [("camp", "tone", i) for i in (1, 2, 3, 5)]
    assert ids(bob.claim_samples(group)) == ids(bob.held()) == [2, 3]
    assert ids(ann.claim_samples(group)) == [1]
    assert ann.claim_samples([]) == []


def test_a_lease_expires_without_heartbeats(store, managers, clock):
    ask(store, 2)
    ann, bob, cyd = managers
    assert (ids(ann.claim(1)), ids(bob.claim(1))) == ([0], [1])
    clock.now += LEASE_S - 1
    assert ann.heartbeat() == 1
    clock.now += 2
    assert bob.heartbeat() == 0
    assert (ids(ann.held()), ids(bob.held()), ids(cyd.claim(5))) == ([0], [], [1])


def test_an_expired_lease_can_be_claimed_again_by_its_holder(store, managers, clock):
    ask(store, 1)
    managers[0].claim(1)
    clock.now += LEASE_S + 1
    assert ids(managers[0].claim(1)) == [0]


def test_released_questions_are_free_immediately(store, managers):
    ask(store, 2)
    managers[0].claim(2)
    managers[0].release()
    assert ids(managers[1].claim(2)) == [0, 1]


def test_an_answer_ends_its_lease_and_records_how_long_it_was_held(store, managers, clock):
    ask(store, 1, votes=2)
    managers[0].claim(1)
    clock.now += 12.5
    store.record([answer(0, "ann")], ["a"])
    (kept,) = store.answers("camp")
    assert (kept.held_s, kept.late) == (12.5, False)
    assert ids(managers[0].held()) == ids(managers[0].claim(1)) == []
    assert ids(managers[1].claim(1)) == [0]


def test_a_late_answer_is_stored_and_marked(store, managers, clock):
    ask(store, 1)
    managers[0].claim(1)
    clock.now += LEASE_S + 1
    managers[1].claim(1)
    store.record([answer(0, "bob")], ["b"])
    store.record([answer(0, "ann")], ["a"])
    assert [(kept.annotator, kept.late) for kept in store.answers("camp")] == [
        ("bob", False),
        ("ann", True),
    ]


def test_an_answer_to_a_closed_round_is_stored_and_marked_late(store, managers):
    ask(store, 2)
    store.close_round("camp", 1)
    assert managers[0].claim(2) == store.open_questions("camp") == []
    store.record([answer(0, "ann")], ["a"])
    assert [kept.late for kept in store.answers("camp")] == [True]


def test_undo_removes_answers_one_by_one_and_leases_their_questions(store, managers):
    ask(store, 12)
    ann = managers[0]
    ann.claim(12)
    for i in range(12):
        store.record([answer(i, "ann")], [f"a{i}"])
    undone = [ann.undo(f"u{i}") for i in range(11)]
    assert [ids(each) for each in undone] == [[i] for i in range(11, 0, -1)]
    assert ids(store.answers("camp")) == [0]
    assert ids(ann.held()) == list(range(1, 12))
    assert ids(managers[1].claim(1)) == []
    assert store.progress("camp") == (1, 12)


def test_a_repeated_undo_request_takes_effect_once(store, managers):
    ask(store, 2)
    store.record([answer(0, "ann"), answer(1, "ann")], ["a", "b"])
    assert managers[0].undo("u") == managers[0].undo("u")
    assert ids(store.answers("camp")) == [0]


def test_a_group_of_answers_is_undone_as_a_whole(store, managers):
    ask(store, 5)
    store.record([answer(0, "ann")], ["a"])
    group = [replace(answer(i, "ann"), bulk="g") for i in (1, 2, 3)]
    store.record(group, ["b", "c", "d"])
    undone = managers[0].undo("u_1")
    assert sorted(ids(undone)) == [1, 2, 3]
    assert sorted(ids(managers[0].undo("u_1"))) == [1, 2, 3]  # the same request again
    assert ids(store.answers("camp")) == [0]
    assert ids(managers[0].undo("u21")) == [0]


def test_an_undone_question_can_be_answered_again(store, managers):
    ask(store, 1)
    assert managers[0].undo("u0") == []
    store.record([answer(0, "ann", "good")], ["a"])
    managers[0].undo("u1")
    store.record([answer(0, "ann", "bad")], ["b"])
    assert [kept.label for kept in store.answers("camp")] == ["bad"]


def test_an_answer_of_a_closed_round_cannot_be_undone(store, managers):
    ask(store, 1)
    store.record([answer(0, "ann")], ["a"])
    store.close_round("camp", 1)
    with pytest.raises(StoreError, match="round 1 is closed"):
        managers[0].undo("u")
    assert ids(store.answers("camp")) == [0]


def test_an_answer_beyond_the_votes_is_kept_and_does_not_count(store, managers, clock):
    ask(store, 1)
    ann, bob, _ = managers
    ann.claim(1)
    clock.now += LEASE_S + 1
    bob.claim(1)
    store.record([answer(0, "bob")], ["b"], asked_only=True)
    for _ in range(2):
        store.record([answer(0, "ann", "bad")], ["a"], asked_only=True)
    assert [(each.annotator, each.label) for each in store.answers("camp")] == [("bob", "good")]
    (extra,) = store.events("extra", "camp")
    assert (extra.annotator, extra.label, extra.late) == ("ann", "bad", True)
    assert store.progress("camp") == (1, 1)
    assert ids(ann.undo("u")) == [0]  # not an answer before it
    assert store.events("extra", "camp") == []
    with pytest.raises(StoreError, match="cyd was not asked about sample 0"):
        store.record([answer(0, "cyd")], ["c"], asked_only=True)


def test_of_two_answers_at_once_the_first_takes_the_vote(store, managers, clock):
    ask(store, 1)
    for manager in managers[:2]:
        manager.claim(1)
        clock.now += LEASE_S + 1
    store.record([answer(0, "ann"), answer(0, "bob")], ["a", "b"], asked_only=True)
    assert [each.annotator for each in store.answers("camp")] == ["ann"]
    assert [each.annotator for each in store.events("extra", "camp")] == ["bob"]


def test_undo_does_not_touch_answers_of_others(store, managers):
    ask(store, 1)
    store.record([answer(0, "ann")], ["a"])
    assert managers[1].undo("u") == []


def test_more_votes_reopen_a_question_for_other_people(store, managers):
    ask(store, 2)
    store.record([answer(0, "ann"), answer(1, "ann")], ["a", "b"])
    store.raise_votes(store.questions("camp")[:1], votes=3)
    store.raise_votes(store.questions("camp")[:1], votes=2)
    assert [asked.votes for asked in store.questions("camp")] == [3, 1]
    assert [ids(manager.claim(5)) for manager in managers] == [[], [0], [0]]


def test_everyone_gets_gold_questions_regularly_outside_the_round(store):
    ask(store, 12, votes=2)
    known = [Question("camp", 1, "tone", "mail", 100 + i, gold="good") for i in range(9)]
    store.submit(known)
    for name in ("ann", "bob"):
        manager = LeaseManager(store, "camp", name, gold_every=4)
        seen = []
        while claimed := manager.claim(3):
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


def test_flags_and_notes_are_stored_separately_from_answers(store):
    ask(store, 1)
    remark = Answer("camp", "tone", "mail", 0, "ann", None, 1, reason="broken text")
    store.record_as("flag", [remark], ["f"])
    store.record_as("flag", [remark], ["f"])
    assert [flag.reason for flag in store.events("flag", "camp")] == ["broken text"]
    assert store.events("note", "camp") == store.answers("camp") == []
    assert store.progress("camp") == (0, 1)


def test_random_sequences_of_actions_complete_without_over_assignment(store, clock):
    dice = random.Random(5)
    names = [f"p{i}" for i in range(5)]
    ask(store, 8, votes=3)
    managers = {name: LeaseManager(store, "camp", name, lease_s=LEASE_S) for name in names}
    for step in range(400):
        name = dice.choice(names)
        held = managers[name].held() or managers[name].claim(dice.randint(1, 4))
        action = dice.random()
        if action < 0.1:
            clock.now += dice.choice([10, LEASE_S + 1])  # expires leases of inactive annotators
        elif action < 0.2:
            managers[name].undo(f"undo{step}")
        elif held and managers[name].heartbeat():
            store.record([answer(held[0].sample_id, name)], [f"answer{step}"])
        answers = Counter(ids(store.answers("camp")))
        on_screens = Counter(i for manager in managers.values() for i in ids(manager.held()))
        assert max((answers + on_screens).values(), default=0) <= 3
        if store.progress("camp") == (8, 8):
            break
    assert answers == dict.fromkeys(range(8), 3)
    pairs = {(kept.sample_id, kept.annotator) for kept in store.answers("camp")}
    assert len(pairs) == 24


def test_concurrent_claims_never_share_a_vote(url, store):
    ask(store, 150)

    def work(name):
        claimed = []
        with closing(AnnotationStore(url)) as own:
            manager = LeaseManager(own, "camp", name)
            while some := manager.claim(1):
                claimed += ids(some)
        return claimed

    with ThreadPoolExecutor(5) as people:
        claimed = Counter(chain(*people.map(work, [f"p{i}" for i in range(5)])))
    assert claimed == dict.fromkeys(range(150), 1)
