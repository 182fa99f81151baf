"""The one place of a campaign that decides how many labels each domain gets.

`BudgetAllocator` is a plain class around `methods.bandit`; `start_allocator` puts it on the
cluster. Its memory is one JSON document, written before a call returns, so a killed actor comes
back as it was, and a round that is asked for again gets the answer it got before. What is stored is
read at each call, and is not overwritten if it has changed since.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import ray
from ray.actor import ActorProxy

from umc_ray.errors import StoreError
from umc_ray.methods import bandit
from umc_ray.methods.allocation import allocate
from umc_ray.methods.bandit import ArmContext, BanditState, Reward, observe, shares
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

if TYPE_CHECKING:  # the actor needs no PyTorch
    from umc_ray.tasks.task import TaskKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A round's split of the budget, by arm."""

    shares: Mapping[str, float]
    labels: Mapping[str, int]


@dataclass(frozen=True)
class Memory:
    """What the allocator stores: what the policy learned, and by round its plans and rewards."""

    state: BanditState
    plans: Mapping[int, Plan] = field(default_factory=dict)
    credits: Mapping[int, tuple[Reward, ...]] = field(default_factory=dict)


class BudgetAllocator:
    """Plan the labels of each round and learn from what they brought."""

    def __init__(
        self,
        policy: str,
        objective: str,
        floor: float,
        seed: int,
        storage: Storage,
        key: str = "bandit.json",
    ) -> None:
        """Go on from the state stored under `key`, or start one.

        `floor` is the least share of a budget that an arm gets while it has samples left.
        """
        self._policy = policy
        self._objective = objective
        self._floor = floor
        self._storage = storage
        self._key = key
        self._memory = Memory(BanditState(seed=seed))
        self._memory = self._stored()

    @ray.method
    def plan(self, round: int, arms: Sequence[ArmContext], budget: int) -> dict[str, int]:
        """Return the labels per arm of a round; a round planned before keeps its plan."""
        memory = self._memory = self._stored()
        if round not in memory.plans:
            state = observe(memory.state, arms)
            shares_A = shares(self._policy, state, arms, self._objective)
            labels_A = allocate(
                shares_A, budget, floor=self._floor, remaining_A=[arm.remaining for arm in arms]
            )
            plan = Plan(
                shares={arm.name: float(s) for arm, s in zip(arms, shares_A, strict=True)},
                labels={arm.name: int(n) for arm, n in zip(arms, labels_A, strict=True)},
            )
            self._remember(replace(memory, state=state, plans={**memory.plans, round: plan}))
            logger.info("round %d: %d labels planned for %d arms", round, labels_A.sum(), len(arms))
        return dict(self._memory.plans[round].labels)

    @ray.method
    def update(self, round: int, rewards: Sequence[Reward]) -> None:
        """Learn from a round's labels; a round credited before is not counted again.

        Raises:
            StoreError: if the round was never planned.
        """
        memory = self._memory = self._stored()
        if round in memory.credits:
            return
        if round not in memory.plans:
            raise StoreError(f"credit for round {round} asked for, planned: {list(memory.plans)}")
        state = bandit.update(memory.state, rewards)
        credits = {**memory.credits, round: tuple(rewards)}
        self._remember(replace(memory, state=state, credits=credits))

    @ray.method
    def state(self) -> BanditState:
        """Return what the policy remembers."""
        return self._memory.state

    def _stored(self) -> Memory:
        if not self._storage.exists(self._key):
            return self._memory
        return self._storage.read_record(self._key, Memory)

    def _remember(self, memory: Memory) -> None:
        """Store first: what could not be stored has not happened.

        Raises:
            StoreError: another allocator has stored something since this one has read it.
        """
        stored = self._stored()
        if (stored.plans.keys(), stored.credits.keys()) != (
            self._memory.plans.keys(),
            self._memory.credits.keys(),
        ):
            raise StoreError(
                f"{self._key} of {self._storage.root} has plans of rounds {[*stored.plans]} and "
                f"credits of {[*stored.credits]} by now, read before: {[*self._memory.plans]} and "
                f"{[*self._memory.credits]}. Another run is at work: end it, and run again"
            )
        self._storage.write_record(self._key, memory)
        self._storage.seal([self._key])
        self._memory = memory


@dataclass(frozen=True)
class PastRound:
    """What a round's folder says of its plan, and of its rewards if it has any yet."""

    arms: Sequence[ArmContext]
    labels: Mapping[str, int]
    rewards: Sequence[Reward] | None


def memory_of(
    rounds: Mapping[int, PastRound], policy: str, objective: str, seed: int, overlap: bool
) -> Memory:
    """Return what an allocator would remember of rounds; `overlap`: the next is planned first."""
    memory = Memory(BanditState(seed=seed))
    steps = [(number, 0) for number in rounds]
    steps += [(number + int(overlap), 1) for number in rounds]
    for at, is_credit in sorted(steps):
        number = at - int(overlap) if is_credit else at
        past = rounds[number]
        if is_credit and past.rewards is not None:
            credits = {**memory.credits, number: tuple(past.rewards)}
            memory = replace(
                memory, state=bandit.update(memory.state, past.rewards), credits=credits
            )
        elif not is_credit:
            state = observe(memory.state, past.arms)
            shares_A = shares(policy, state, past.arms, objective)
            by_arm = {a.name: float(s) for a, s in zip(past.arms, shares_A, strict=True)}
            plans = {**memory.plans, number: Plan(by_arm, past.labels)}
            memory = replace(memory, state=state, plans=plans)
    return memory


def batch_rewards(
    batch: pa.Table,
    labels: pa.Table,
    domain_keys: Sequence[DomainKey],
    kinds: Mapping[str, "TaskKind"],
) -> list[Reward]:
    """Add up, by domain, how wrong the ensemble was about a batch before it saw the labels."""
    columns = (labels[name].to_pylist() for name in ("task", "sample_id", "label"))
    answers = {(task, sample): label for task, sample, label in zip(*columns, strict=True)}
    pairs: dict[DomainKey, list[tuple[str, str]]] = {key: [] for key in domain_keys}
    for row in batch.to_pylist():
        label = answers.get((row["task"], row["sample_id"]))
        if row["predicted"] is not None and label is not None:
            pairs[DomainKey(row["task"], row["domain"])].append((row["predicted"], label))
    return [
        Reward(str(key), _errors(each, kinds[key.task]), len(each)) for key, each in pairs.items()
    ]


def _errors(pairs: Sequence[tuple[str, str]], kind: "TaskKind") -> float:
    """Return the utility that predictions lack, added up."""
    if not pairs:
        return 0.0
    predicted, labels = zip(*pairs, strict=True)
    return float((1 - kind.utility(predicted, labels)).sum())


def start_allocator(
    campaign: str,
    config_hash: str,
    *,
    policy: str,
    objective: str,
    floor: float,
    seed: int,
    storage: Storage,
    key: str = "bandit.json",
) -> ActorProxy[BudgetAllocator]:
    """Put the campaign's allocator on the cluster, or find the one that is there.

    One actor per campaign, configuration and key. It holds no CPU, is started again wherever and
    whenever it dies, and ends with the driver; its state stays in `storage`.
    """
    name = f"allocator-{campaign}-{config_hash}-{key}"
    actor = ray.remote(BudgetAllocator).options(
        name=name,
        namespace=f"umc-{campaign}-{config_hash}",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=3,
    )
    return actor.remote(policy, objective, floor, seed, storage, key)
