"""Passes over a pool: Ray Data distributes references to parts, workers read and write the files.

On cached features the object store is the bottleneck, not the arithmetic: sending rows through it
costs six times as much as opening the file where it is needed. So a pass sends references only.
The output of a part is one file, written atomically, with the worker's summary in its footer. A
part that has its file is done; that is all that resuming needs.

Every use of Ray Data and of its compute strategies is in this file. When a process or node dies,
Ray repeats the task in another process, without a limit. Here the repeated task continues with the
part at which the first one died, and the pass fails if one part kills several processes.
"""

import logging
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import ray

from umc_ray import errors
from umc_ray.cluster.resources import (
    ANY_NODE,
    Labels,
    available_slots,
    check_resources,
    cpus_per_process,
)
from umc_ray.errors import StageError, UmcError, message_of
from umc_ray.json_records import from_json, to_json
from umc_ray.storage import Storage, deepest_common_folder

# Ray Data takes a second to import: functions import what they need, as `umc status` needs nothing.
if TYPE_CHECKING:
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

logger = logging.getLogger(__name__)

WRAPPED = "The above exception was the direct cause"
"""How Python goes on after the trace of an error that led to another one."""


@dataclass(frozen=True)
class Summary:
    """What a worker reports about an item; passes with more to say have a summary of their own."""

    rows: int


OnRows = Callable[[int], None]
"""Callback with the number of rows that were just finished."""

Follow = Callable[[int], OnRows]
"""Callback with the number of rows to expect, about; returns that for the rows done."""

NO_PROGRESS_TIMEOUT_S = 600

MAX_ATTEMPTS = 3
"""Processes that one part may kill before the pass fails; Ray alone would retry forever."""

TASKS_PER_CPU = 4
MAX_ITEMS_PER_TASK = 16
"""A task costs 15 ms of CPU time, as much as scoring 5,000 rows. So there are few tasks, but enough
to keep every CPU busy to the end, and each is short enough to report progress often."""

Item = TypeVar("Item")
ItemIn = TypeVar("ItemIn", contravariant=True)
AnySummary = TypeVar("AnySummary", bound=Summary)
SummaryOut = TypeVar("SummaryOut", bound=Summary, covariant=True)


class Worker(Protocol[ItemIn, SummaryOut]):
    """The work of a pass: cheap to send; what is expensive to load is cached in the process."""

    @property
    def summary_type(self) -> type[SummaryOut]:
        """The class of the summaries."""
        ...

    @property
    def storage(self) -> Storage:
        """The run directory."""
        ...

    def output_key(self, item: ItemIn) -> str:
        """Name the file that holds the item's output."""
        ...

    def process(self, item: ItemIn) -> tuple[pa.Table, SummaryOut]:
        """Compute the item's output and its summary."""
        ...


@dataclass(frozen=True)
class Compute:
    """Where a pass runs: on `actors` processes that keep a model, or in stateless tasks if 0.

    With `max_actors`, the pool grows with the cluster. Only nodes with the labels take part.
    """

    actors: int = 0
    num_gpus: float = 0.0
    labels: Labels = field(default_factory=lambda: ANY_NODE)
    max_actors: int | None = None

    def for_items(self, items: int) -> Self:
        """Return a copy with at most one actor per item."""
        limit = None if self.max_actors is None else min(self.max_actors, items)
        actors = min(self.actors, items)
        return replace(self, actors=actors, max_actors=None if limit == actors else limit)

    def strategy(self) -> "ActorPoolStrategy | TaskPoolStrategy":
        """Return the compute strategy for Ray Data; an actor pool has a fixed size by default."""
        from ray.data import ActorPoolStrategy, TaskPoolStrategy

        if not self.actors:
            return TaskPoolStrategy()
        if self.max_actors is None:
            return ActorPoolStrategy(size=self.actors)
        return ActorPoolStrategy(min_size=self.actors, max_size=self.max_actors)


class _ItemRunner(Generic[Item]):
    """Adapts a worker to Ray Data: one batch of rows holds the indices of a task's items."""

    def __init__(self, worker: Worker[Item, Summary], items: Sequence[Item]) -> None:
        self.worker, self.items = worker, items

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        rows, failure = 0, ""
        try:
            attempt = self._record_attempt(batch["index"][0])
            for index in batch["index"]:
                rows += self._run_unless_done(self.items[index], attempt).rows
        except UmcError as error:
            # Ray Data loses an error's type and cause, so errors meant for users are returned.
            failure = f"{type(error).__name__}:{error}"
        return {"rows": np.array([rows]), "failure": np.array([failure])}

    def _record_attempt(self, task: int) -> int:
        """Record that a task starts; returns how many times it has started."""
        folder = f"{_attempts_folder(self.worker)}/{task}"
        self.worker.storage.write_bytes(f"{folder}/{uuid.uuid4().hex}", b"")
        return len(self.worker.storage.keys(folder))

    def _run_unless_done(self, item: Item, attempt: int) -> Summary:
        """Run an item, unless an earlier attempt at the task has finished it."""
        if attempt == 1:
            return run_item(self.worker, item)
        storage, key = self.worker.storage, self.worker.output_key(item)
        if storage.exists(key):
            return _read_summary(storage, key, self.worker.summary_type)
        if attempt > MAX_ATTEMPTS:
            raise StageError(
                f"{MAX_ATTEMPTS} processes died in a row while writing {key} in {storage.root}; "
                "they may have run out of memory: see Ray's logs"
            )
        return run_item(self.worker, item)


def run_item(worker: Worker[Item, AnySummary], item: Item) -> AnySummary:
    """Process one item and store its output; Ray workers call this, and it runs without Ray too."""
    table, summary = worker.process(item)
    metadata = {**(table.schema.metadata or {}), b"summary": to_json(summary)}
    worker.storage.write_table(worker.output_key(item), table.replace_schema_metadata(metadata))
    return summary


def stream(
    worker: Worker[Item, AnySummary],
    items: Sequence[Item],
    compute: Compute,
    on_rows: OnRows | None = None,
) -> list[AnySummary]:
    """Run a worker over all items that have no output yet.

    Returns:
        The summaries of all items in order, including items that were done before.

    Raises:
        ConfigError: the actors do not fit on the cluster.
        StageError: the worker failed, or the pass made no progress for a long time.
    """
    keys = [worker.output_key(item) for item in items]
    done = set(worker.storage.keys(deepest_common_folder(key.split("/")[:-1] for key in keys)))
    todo = [item for item in items if worker.output_key(item) not in done]
    if todo:
        compute = compute.for_items(len(todo))
        check_resources(max(compute.actors, 1), compute.num_gpus, compute.labels)
        worker.storage.delete(_attempts_folder(worker))
        _run(worker, todo, compute, on_rows)
        worker.storage.delete(_attempts_folder(worker))
    return read_summaries(worker.storage, keys, worker.summary_type)


def _run(
    worker: Worker[Item, Summary], todo: Sequence[Item], compute: Compute, on_rows: OnRows | None
) -> None:
    """Stream the items through Ray Data."""
    from ray.data import from_items
    from ray.data.exceptions import ExecutionTimeoutError

    _configure_ray_data()
    runner: Any = _ItemRunner(worker, todo)
    arguments: dict[str, Any] = {"num_cpus": cpus_per_process(compute.num_gpus)}
    if compute.labels:
        arguments["label_selector"] = dict(compute.labels)
    if compute.num_gpus:
        arguments["num_gpus"] = compute.num_gpus
    if compute.actors:
        runner, arguments["fn_constructor_args"] = _ItemRunner, (worker, todo)
    indices = from_items(
        [{"index": i} for i in range(len(todo))],
        override_num_blocks=_task_count(len(todo), compute),
    )
    finished = indices.map_batches(
        runner,
        batch_size=1 if compute.actors else None,
        batch_format="numpy",
        compute=compute.strategy(),
        **arguments,
    )
    try:
        for row in finished.iter_rows():
            if row["failure"]:
                name, _, message = row["failure"].partition(":")
                raise getattr(errors, name)(message)
            if on_rows is not None:
                on_rows(int(row["rows"]))
    except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
        raise StageError(f"{type(worker).__name__} failed: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Return what the worker's own error says: Ray Data wraps it, and keeps it as a trace only."""
    trace, is_wrapped, _ = str(error).partition(WRAPPED)
    return trace.strip().splitlines()[-1].strip() if is_wrapped else message_of(error)


def _attempts_folder(worker: Worker[Item, Summary]) -> str:
    """Return the folder with one file for each attempt at a task."""
    return f"tries/{type(worker).__name__}"


def _task_count(items: int, compute: Compute) -> int:
    """Return the number of tasks to split the items into; an actor gets one item at a time."""
    if compute.actors:
        return items
    balanced = TASKS_PER_CPU * max(1, available_slots(0, compute.labels))
    return min(items, max(balanced, math.ceil(items / MAX_ITEMS_PER_TASK)))


def _configure_ray_data() -> None:
    """Tune Ray Data for small items on small machines."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    # With reserved resources per operator, every pass would start with one task at a time.
    context.op_resource_reservation_enabled = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_TIMEOUT_S


def read_summaries(
    storage: Storage, keys: Sequence[str], kind: type[AnySummary]
) -> list[AnySummary]:
    """Read the summaries from the footers of finished files."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda key: _read_summary(storage, key, kind), keys))


def _read_summary(storage: Storage, key: str, kind: type[AnySummary]) -> AnySummary:
    return from_json(kind, storage.read_schema(key).metadata[b"summary"])
