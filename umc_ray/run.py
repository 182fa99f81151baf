"""A campaign's run: where it is stored, who answers, and the rule that nothing is done twice."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
from ray.actor import ActorProxy

from umc_ray.annotation.backend import AnnotationBackend
from umc_ray.annotation.label_studio import LabelStudioBackend
from umc_ray.annotation.replay import ReplayAnnotator
from umc_ray.annotation.sheet import SheetBackend
from umc_ray.annotation.store import AnnotationStore
from umc_ray.annotation.web import WebBackend
from umc_ray.config import CampaignConfig, fingerprint
from umc_ray.errors import StageError, UmcError
from umc_ray.pipeline.allocator import BudgetAllocator, start_allocator
from umc_ray.pipeline.features import features_table
from umc_ray.pipeline.ingest import load_manifest
from umc_ray.pipeline.metrics import RunMetrics
from umc_ray.pipeline.stream import OnRows
from umc_ray.records import Arm, IntArray, Part
from umc_ray.running import noted
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

Output = TypeVar("Output", pa.Table, dict[str, Any])
Result = TypeVar("Result")

BACKENDS: dict[str, type[AnnotationBackend]] = {
    "label_studio": LabelStudioBackend,
    "replay": ReplayAnnotator,
    "sheet": SheetBackend,
    "web": WebBackend,
}

MIN_DRAWS = 2000

UNUSABLE = "unusable.json"
"""By domain, the samples that no encoder could read."""


def round_folder(number: int) -> str:
    """Name the folder of a round."""
    return f"rounds/{number:04d}"


class Watch(Protocol):
    """Whoever follows a run: a progress bar, a log."""

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Hear that a stage begins; returns what is called with each number of rows done."""
        ...

    def end(self, stage: str, seconds: float) -> None:
        """Hear that a stage is done."""
        ...


class Silent:
    """Nobody follows."""

    def begin(self, stage: str, rows: int | None) -> OnRows:
        """Say nothing."""
        return lambda rows: None

    def end(self, stage: str, seconds: float) -> None:
        """Say nothing."""


SILENT = Silent()


@dataclass(frozen=True)
class Run:
    """Everything that the stages of a campaign share."""

    config: CampaignConfig
    watch: Watch = SILENT

    @cached_property
    def storage(self) -> Storage:
        """The run directory."""
        return Storage(f"{self.config.storage.rstrip('/')}/{self.config.name}")

    @cached_property
    def metrics(self) -> RunMetrics:
        """The campaign's numbers on the cluster's metrics endpoint."""
        return RunMetrics(self.config.name)

    @property
    def followers(self) -> tuple[Watch, ...]:
        """All who hear of each stage."""
        return self.watch, self.metrics

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All parts of all domains, pools and tests, once they are ingested."""
        found: list[Part] = []
        for arm, domain in self.config.domains().items():
            found += load_manifest(self.storage, arm, "pool").parts
            if domain.test is not None:
                found += load_manifest(self.storage, arm, "test").parts
        return tuple(found)

    def pool(self, arm: Arm) -> tuple[Part, ...]:
        """Return the parts of a domain's pool."""
        return tuple(part for part in self.parts if part.arm == arm and part.split == "pool")

    @cached_property
    def features(self) -> dict[str, str]:
        """The table of each task's features."""
        return {name: features_table(task.encoder) for name, task in self.config.tasks.items()}

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """The label set of each task."""
        return {name: tuple(task.labels) for name, task in self.config.tasks.items()}

    @property
    def draws(self) -> int:
        """How much of the random orders is kept: no campaign asks for more."""
        return max(self.config.budget.labels, MIN_DRAWS)

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

    def asked(self, rounds: int | None = None) -> dict[Arm, IntArray]:
        """Return the ids of all samples that people were asked about, sorted, per domain.

        Args:
            rounds: only in so many first ones; default: ever.
        """
        ids: dict[Arm, list[int]] = {arm: [] for arm in self.config.domains()}
        for question in self.store.questions(self.config.name):
            if rounds is None or question.round <= rounds:
                ids[Arm(question.task, question.domain)].append(question.sample_id)
        return {arm: np.sort(np.array(values, dtype=np.int64)) for arm, values in ids.items()}

    def closed(self, rounds: int | None = None) -> dict[Arm, IntArray]:
        """Return the ids of all samples that cannot be chosen any more: asked, or unusable."""
        unusable = self.storage.read_json(UNUSABLE)
        return {
            arm: np.union1d(ids, np.array(unusable.get(str(arm), []), dtype=np.int64))
            for arm, ids in self.asked(rounds).items()
        }

    def stage(
        self,
        key: str,
        compute: Callable[[OnRows], Output],
        rows: int | None = None,
    ) -> Output:
        """Return a stage's stored output, or compute and store it.

        Args:
            key: the output's file; a table (.parquet) or a document (.json).
            compute: is given what to call with each number of rows done.
            rows: how many rows there will be, if known.

        Raises:
            StageError: the stage failed for a reason that is no UmcError of its own.
        """
        is_table = key.endswith(".parquet")
        if self.storage.exists(key):
            stored: Output = (self.storage.read_table if is_table else self.storage.read_json)(key)
            return stored
        output = self.step(key.rsplit(".", 1)[0], compute, rows)
        (self.storage.write_table if is_table else self.storage.write_json)(key, output)
        return output

    def step(
        self, name: str, compute: Callable[[OnRows], Result], rows: int | None = None
    ) -> Result:
        """Do work that knows by itself what is done already; log it and say how it goes."""
        began = time.monotonic()
        try:
            with noted(self.storage, name, self.metrics.repeat):
                result = compute(self.follow(name, rows))
        except UmcError:
            raise
        except Exception as error:
            raise StageError(f"{name} of {self.storage.root} failed: {error!r}") from error
        seconds = time.monotonic() - began
        for follower in self.followers:
            follower.end(name, seconds)
        self.event(name, seconds=round(seconds, 3), rows=_row_count(result))
        logger.info("%s in %.1f s", name, seconds)
        return result

    def follow(self, stage: str, rows: int | None) -> OnRows:
        """Tell all who follow that a stage begins; returns what is called with rows done."""
        heard = [follower.begin(stage, rows) for follower in self.followers]

        def on_rows(done: int) -> None:
            for hear in heard:
                hear(done)

        return on_rows

    def event(self, stage: str, **values: Any) -> None:  # noqa: ANN401 - anything JSON can hold
        """Add a line to the run's log of events."""
        line = {"time": round(time.time(), 3), "stage": stage, **values}
        self.storage.append_line("events.jsonl", json.dumps(line))


def _row_count(result: object) -> int | None:
    if isinstance(result, pa.Table):
        return int(result.num_rows)
    if isinstance(result, dict):
        return result.get("rows")
    return result if isinstance(result, int) else None
