"""A campaign's run: where it is stored, who answers, and the rule that nothing is done twice."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ray.actor import ActorProxy

from umc_ray.annotation.backends.backend import AnnotationBackend
from umc_ray.annotation.backends.label_studio import LabelStudioBackend
from umc_ray.annotation.backends.replay import ReplayAnnotator
from umc_ray.annotation.backends.sheet import SheetBackend
from umc_ray.annotation.backends.web import WebBackend
from umc_ray.annotation.store import AnnotationStore
from umc_ray.campaign.prometheus import RunMetrics
from umc_ray.campaign.stages import NULL_LISTENER, ProgressListener, Stages
from umc_ray.config.campaign import CampaignConfig
from umc_ray.ingest.ingest import load_manifest
from umc_ray.methods.identity import fingerprint
from umc_ray.passes.encode import features_table
from umc_ray.records import DomainKey, IntArray, Part
from umc_ray.selection.allocator import BudgetAllocator, start_allocator
from umc_ray.storage import Storage

BACKENDS: dict[str, type[AnnotationBackend]] = {
    "label_studio": LabelStudioBackend,
    "replay": ReplayAnnotator,
    "sheet": SheetBackend,
    "web": WebBackend,
}

MIN_ORDER_SIZE = 2000

UNUSABLE = "unusable.json"
"""By domain, the samples that no encoder could read."""


def round_folder(number: int) -> str:
    """Name the folder of a round."""
    return f"rounds/{number:04d}"


@dataclass(frozen=True)
class Run:
    """Everything that the stages of a campaign share."""

    config: CampaignConfig
    watch: ProgressListener = NULL_LISTENER

    @cached_property
    def storage(self) -> Storage:
        """The run directory."""
        return Storage(f"{self.config.storage.rstrip('/')}/{self.config.name}")

    @cached_property
    def metrics(self) -> RunMetrics:
        """The campaign's numbers on the cluster's metrics endpoint."""
        return RunMetrics(self.config.name)

    @cached_property
    def stages(self) -> Stages:
        """What runs stages, and tells the listeners of them."""
        return Stages(self.storage, (self.watch, self.metrics), self.metrics.repeat)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts of all domains, pools and tests, once they are ingested."""
        found: list[Part] = []
        for domain_key, domain in self.config.domains().items():
            found += load_manifest(self.storage, domain_key, "pool").parts
            if domain.test is not None:
                found += load_manifest(self.storage, domain_key, "test").parts
        return tuple(found)

    def pool(self, domain_key: DomainKey) -> tuple[Part, ...]:
        """Return the parts of a domain's pool."""
        return tuple(
            part for part in self.parts if part.domain_key == domain_key and part.split == "pool"
        )

    @cached_property
    def features(self) -> dict[str, str]:
        """The table of each task's features."""
        return {name: features_table(task.encoder) for name, task in self.config.tasks.items()}

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The label set of each task."""
        return {name: tuple(task.labels) for name, task in self.config.tasks.items()}

    @property
    def order_size(self) -> int:
        """How much of the random orders is kept: no campaign asks for more."""
        return max(self.config.budget.labels, MIN_ORDER_SIZE)

    @cached_property
    def store(self) -> AnnotationStore:
        """The store of questions and answers."""
        url = self.config.annotation.database or f"sqlite:///{self.storage.path('labels.db')}"
        return AnnotationStore(url)

    @cached_property
    def backend(self) -> AnnotationBackend:
        """Where people answer."""
        backend = BACKENDS[self.config.annotation.backend]
        return backend(self.store, self.config.name, self.storage, self.parts, self.classes)

    @cached_property
    def allocator(self) -> ActorProxy[BudgetAllocator]:
        """The bandit that splits the budget, an actor of the cluster."""
        allocation = self.config.allocation
        return start_allocator(
            self.config.name,
            fingerprint(self.storage.root),
            policy=allocation.policy,
            objective=allocation.objective,
            floor=allocation.floor,
            seed=self.config.seed,
            storage=self.storage,
        )

    def newest(self, number: int) -> int:
        """Return the newest round before one whose specialists have looked again, 0 if none."""
        before = range(number - 1, 0, -1)
        done = (n for n in before if self.storage.exists(f"{round_folder(n)}/metrics.json"))
        return next(done, 0)

    def last(self, number: int, name: str) -> dict[str, Any]:
        """Return a document of the newest round before one, empty if there is none."""
        newest = self.newest(number)
        if not newest:
            return {}
        found: dict[str, Any] = self.storage.read_json(f"{round_folder(newest)}/{name}.json")
        return found

    def queried(self, rounds: int | None = None) -> dict[DomainKey, IntArray]:
        """Return the ids of all samples that people were asked about, sorted, per domain.

        Args:
            rounds: only in so many first ones; default: ever.
        """
        ids: dict[DomainKey, list[int]] = {domain_key: [] for domain_key in self.config.domains()}
        for question in self.store.questions(self.config.name):
            if rounds is None or question.round <= rounds:
                ids[DomainKey(question.task, question.domain)].append(question.sample_id)
        return {
            domain_key: np.sort(np.array(values, dtype=np.int64))
            for domain_key, values in ids.items()
        }

    def excluded(self, rounds: int | None = None) -> dict[DomainKey, IntArray]:
        """Return the ids of all samples that cannot be chosen any more: asked, or unusable."""
        unusable = self.storage.read_json(UNUSABLE)
        return {
            domain_key: np.union1d(ids, np.array(unusable.get(str(domain_key), []), dtype=np.int64))
            for domain_key, ids in self.queried(rounds).items()
        }
