"""A campaign at work: its state, and the services that its stages use."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ray.actor import ActorProxy

from umc_ray.annotation.backends.backend import AnnotationBackend
from umc_ray.annotation.backends.registry import BACKENDS
from umc_ray.annotation.store import AnnotationStore
from umc_ray.campaign.answer_store import open_store
from umc_ray.campaign.frozen import check_frozen
from umc_ray.campaign.past_rounds import remember_rounds
from umc_ray.campaign.prometheus import RunMetrics
from umc_ray.campaign.stages import NULL_LISTENER, ProgressListener, Stages
from umc_ray.campaign.state import GIVEN, RunState
from umc_ray.config.loading import load_campaign
from umc_ray.methods.identity import fingerprint
from umc_ray.records import DomainKey, IntArray
from umc_ray.selection.allocator import BudgetAllocator, start_allocator
from umc_ray.selection.group_floor import GroupFloor
from umc_ray.selection.labeled import labels_so_far, of_domain


@dataclass(frozen=True)
class Run(RunState):
    """A run directory with what works on it; each service starts when it is first used.

    With `asked_until`, the questions of later rounds are not there yet: as when a past round ran.
    """

    listener: ProgressListener = NULL_LISTENER
    asked_until: int | None = None

    @cached_property
    def exporter(self) -> RunMetrics:
        """The campaign's numbers on the cluster's metrics endpoint."""
        return RunMetrics(self.config.name)

    @cached_property
    def stages(self) -> Stages:
        """The stage engine."""
        return Stages(self.storage, (self.listener, self.exporter), self.exporter.repeat)

    @cached_property
    def store(self) -> AnnotationStore:
        """The store of questions and answers."""
        return open_store(self.config)

    @cached_property
    def backend(self) -> AnnotationBackend:
        """Where people answer."""
        backend = BACKENDS[self.config.annotation.backend]
        parts = (*self.pools, *self.synthetic)
        pairs = {name: task.pair for name, task in self.config.tasks.items() if task.pair}
        return backend(self.store, self.config.name, self.storage, parts, self.kinds, pairs)

    @cached_property
    def allocator(self) -> ActorProxy[BudgetAllocator]:
        """The bandit that splits the budget, an actor of the cluster."""
        allocation = self.config.allocation
        remember_rounds(self)
        return start_allocator(
            self.config.name,
            fingerprint(self.storage.root),
            policy=allocation.policy,
            objective=allocation.objective,
            floor=allocation.floor,
            seed=self.config.seed,
            storage=self.storage,
        )

    def forget_parts(self) -> None:
        """Have the parts read again when they are next used: the pool may have grown."""
        for name in ("parts", "backend", "features"):
            self.__dict__.pop(name, None)

    def group_floor(self, domain_key: DomainKey) -> GroupFloor | None:
        """Return the least share of a domain's groups in its batches, if there is one."""
        rules, names = self.config.fairness, self.config.domains()[domain_key].groups
        if not rules.group_floor or not names:
            return None
        return GroupFloor(tuple(names), rules.group_floor, rules.smallest_group)

    def queried(self, rounds: int | None = None) -> dict[DomainKey, IntArray]:
        """Return the ids of all samples of pools that people were asked about, sorted, by domain.

        Args:
            rounds: only in so many first ones; default: in all.
        """
        rounds = self.asked_until if rounds is None else rounds
        ids: dict[DomainKey, list[int]] = {domain_key: [] for domain_key in self.config.domains()}
        for question in self.store.questions(self.config.name):
            in_time = rounds is None or question.round <= rounds
            is_real = question.payload.made is None
            if question.round > 0 and in_time and is_real:  # nobody was asked in round 0
                ids[DomainKey(question.task, question.domain)].append(question.sample_id)
        return {key: np.sort(np.array(values, dtype=np.int64)) for key, values in ids.items()}

    def spent(self, rounds: int | None = None) -> int:
        """Return how many questions people were asked, in the first rounds or in all of them."""
        asked = [each.round for each in self.store.questions(self.config.name)]
        return sum(each > 0 and (rounds is None or each <= rounds) for each in asked)

    def excluded(self, rounds: int | None = None) -> dict[DomainKey, IntArray]:
        """Return the ids of all samples that cannot be chosen: queried, given, or unusable."""
        unusable, given = self.unusable(), self.given()
        return {
            key: np.unique(
                np.concatenate([ids, given[key], np.array(unusable.get(str(key), []), np.int64)])
            )
            for key, ids in self.queried(rounds).items()
        }

    def given(self) -> dict[DomainKey, IntArray]:
        """Return the ids of the samples whose label came with their source, by domain."""
        folders = [GIVEN] if self.has_given_labels else []
        labels = labels_so_far(self.storage, folders)
        return {
            key: of_domain(labels, key)["sample_id"].to_numpy() for key in self.config.domains()
        }


def open_run(campaign: Path) -> Run:
    """Open the run of a campaign file, to read what it has done or to add to it.

    Raises:
        ConfigError: a line for each mistake in the file; or the run directory was begun with
            another file.
        StoreError: another version of umc_ray wrote the run directory.
    """
    run = Run(load_campaign(campaign))
    check_frozen(run.storage, run.config)
    return run
