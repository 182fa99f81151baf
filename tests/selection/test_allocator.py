from dataclasses import replace

import pyarrow as pa
import pytest
import ray

from umc_ray.errors import StoreError
from umc_ray.methods.bandit import ArmContext, Reward
from umc_ray.records import BATCH, LABELS, DomainKey
from umc_ray.selection.allocator import (
    BudgetAllocator,
    PastRound,
    batch_rewards,
    memory_of,
    start_allocator,
)
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.multi_label import MultiLabel

ARMS = [
    ArmContext("t/a", 0.3, remaining=500, pool=600, cost=1.0, accuracy=None),
    ArmContext("t/b", 0.1, remaining=8, pool=600, cost=1.0, accuracy=0.8),
    ArmContext("t/c", None, remaining=500, pool=500, cost=1.0, accuracy=None),
]
REWARDS = [Reward("t/a", 30, 40), Reward("t/b", 1, 8)]


def allocator(path, policy="thompson"):
    return BudgetAllocator(policy, "macro", 0.05, 7, Storage(str(path)))


def test_a_plan_spends_the_budget_within_floors_and_pools(tmp_path):
    labels = allocator(tmp_path).plan(1, ARMS, 100)
    assert sum(labels.values()) == 100
    assert 5 <= labels["t/b"] <= 8
    assert list(labels) == ["t/a", "t/b", "t/c"]


def test_a_round_that_was_planned_keeps_its_plan(tmp_path):
    first = allocator(tmp_path)
    labels = first.plan(1, ARMS, 100)
    remembered = first.state()
    assert first.plan(1, ARMS[:1], 50) == labels
    assert first.state() == remembered


def test_a_round_is_credited_once(tmp_path):
    first = allocator(tmp_path)
    first.plan(1, ARMS, 100)
    first.update(1, REWARDS)
    once = first.state()
    first.update(1, [Reward("t/a", 0, 40)])
    assert first.state() == once
    assert once.step == 1


def test_a_round_that_was_never_planned_cannot_be_credited(tmp_path):
    with pytest.raises(StoreError, match="round 2"):
        allocator(tmp_path).update(2, REWARDS)


def test_one_that_starts_again_goes_on_where_the_last_one_stopped(tmp_path):
    first = allocator(tmp_path)
    labels = first.plan(1, ARMS, 100)
    second = allocator(tmp_path)
    assert second.plan(1, ARMS, 100) == labels
    second.update(1, REWARDS)
    third = allocator(tmp_path)
    assert third.state() == second.state()
    third.update(1, REWARDS)
    assert third.state() == second.state()
    assert third.plan(2, ARMS, 100) == second.plan(2, ARMS, 100)


def test_the_next_plan_follows_what_was_learned(tmp_path):
    learner, other = allocator(tmp_path / "a", "ucb"), allocator(tmp_path / "b", "ucb")
    for each in (learner, other):
        each.plan(1, ARMS, 100)
    learner.update(1, [Reward("t/a", 40, 40)])
    other.update(1, [Reward("t/a", 0, 40)])
    assert learner.plan(2, ARMS, 100)["t/a"] > other.plan(2, ARMS, 100)["t/a"]


def test_what_could_not_be_stored_has_not_happened(tmp_path):
    first = allocator(tmp_path)
    first.plan(1, ARMS, 100)
    before = first.state()
    (tmp_path / "bandit.json").unlink()
    (tmp_path / "bandit.json").mkdir()  # nothing can be written there
    with pytest.raises(StoreError):
        first.update(1, REWARDS)
    with pytest.raises(StoreError):
        first.plan(2, ARMS, 100)
    (tmp_path / "bandit.json").rmdir()
    assert first.state() == before
    first.update(1, REWARDS)
    assert allocator(tmp_path).state() == first.state()


def test_a_credit_is_never_written_over_by_one_who_has_not_seen_it(tmp_path, monkeypatch):
    first, second = allocator(tmp_path), allocator(tmp_path)
    first.plan(1, ARMS, 100)
    second.update(1, REWARDS)  # it reads what the first has stored
    assert first.plan(2, ARMS, 100) == second.plan(2, ARMS, 100)
    stale = BudgetAllocator._stored(first)
    second.update(2, REWARDS)
    answers = iter([stale])  # what it read before the other one stored its credit
    real = first._stored
    monkeypatch.setattr(first, "_stored", lambda: next(answers, None) or real())
    with pytest.raises(StoreError, match=r"credits of \[1, 2\] by now.* and \[1\]\. Another run"):
        first.plan(3, ARMS, 100)
    assert set(allocator(tmp_path)._memory.credits) == {1, 2}


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("policy", ["ucb", "thompson", "gradient"])
def test_its_memory_is_made_again_from_what_rounds_stored(tmp_path, policy, overlap):
    each, rounds = allocator(tmp_path, policy), {}
    arms = [ARMS, ARMS[::2], ARMS]
    calls = [(1, "plan"), (1, "update"), (2, "plan"), (2, "update"), (3, "plan")]
    if overlap:
        calls = [(1, "plan"), (2, "plan"), (1, "update"), (3, "plan"), (2, "update")]
    for number, call in calls:
        if call == "plan":
            labels = each.plan(number, arms[number - 1], 100)
            rounds[number] = PastRound(arms[number - 1], labels, None)
        else:
            each.update(number, REWARDS[:number])
            rounds[number] = replace(rounds[number], rewards=REWARDS[:number])
    assert memory_of(rounds, policy, "macro", 7, overlap) == each._stored()


def test_a_reward_adds_up_by_domain_how_wrong_the_ensemble_was():
    mood, tags = DomainKey("mood", "posts"), DomainKey("tags", "posts")
    kinds = {"mood": Classification(("bad", "good")), "tags": MultiLabel(("art", "law"))}
    asked = [
        (mood, 1, "good", "good"),
        (mood, 2, "good", "bad"),
        (mood, 3, "bad", None),  # nobody could label it
        (mood, 4, None, "bad"),  # there was no model yet
        (tags, 1, "art | law", "art"),
        (tags, 2, "(none)", "law"),
        (tags, 3, "law", "law"),
    ]
    names = [{"task": key.task, "domain": key.domain, "sample_id": i} for key, i, _, _ in asked]
    batch = [{**name, "predicted": row[2]} for name, row in zip(names, asked, strict=True)]
    labels = [{**name, "label": row[3]} for name, row in zip(names, asked, strict=True) if row[3]]
    quiet = DomainKey("mood", "quiet")
    found = batch_rewards(
        pa.Table.from_pylist(batch, schema=BATCH),
        pa.Table.from_pylist(labels, schema=LABELS),
        [mood, quiet, tags],
        kinds,
    )
    assert found == [
        Reward("mood/posts", 1.0, 2),
        Reward("mood/quiet", 0.0, 0),
        Reward("tags/posts", 1.5, 3),
    ]


@pytest.mark.ray
def test_a_killed_actor_comes_back_as_it_was(ray_cluster, tmp_path):
    actor = _start("kept", tmp_path)
    labels = ray.get(actor.plan.remote(1, ARMS, 100))
    ray.get(actor.update.remote(1, REWARDS))
    before = ray.get(actor.state.remote())
    ray.kill(actor, no_restart=False)
    assert ray.get(actor.state.remote()) == before
    assert ray.get(_start("kept", tmp_path).plan.remote(1, ARMS, 50)) == labels


@pytest.mark.ray
def test_two_campaigns_have_an_allocator_each(ray_cluster, tmp_path):
    one, other = _start("one", tmp_path / "one"), _start("other", tmp_path / "other")
    ray.get(one.plan.remote(1, ARMS, 100))
    ray.get(one.update.remote(1, REWARDS))
    assert ray.get(one.state.remote()).step == 1
    assert ray.get(other.state.remote()).step == 0


@pytest.mark.ray
def test_an_allocator_is_named_by_campaign_configuration_and_key(ray_cluster, tmp_path):
    one, other = (_start("keys", tmp_path, key=key) for key in ("a.json", "b.json"))
    ray.get(one.plan.remote(1, ARMS, 100))
    assert ray.get(other.state.remote()).step == 0
    assert Storage(str(tmp_path)).exists("a.json")
    for key in ("a.json", "b.json"):
        assert ray.get_actor(f"allocator-keys-0a1b2c-{key}", namespace="umc-keys-0a1b2c")


def _start(campaign, path, **options):
    return start_allocator(
        campaign,
        "0a1b2c",
        policy="thompson",
        objective="macro",
        floor=0.05,
        seed=7,
        storage=Storage(str(path)),
        **options,
    )
