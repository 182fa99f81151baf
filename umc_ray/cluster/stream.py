"""Passes over a pool: names of parts stream through Ray Data, workers read and write the files.

On cached features the object store, not the arithmetic, sets the pace: rows that travel through it
cost six times as much as opening the file where it is needed. So a pass moves references. Each
part's output is one file, written whole, with the worker's summary in its footer: a part that has
its file is done, and that is the whole of resume.

Every use of Ray Data and of its compute strategies is in this file. Ray does a task again whose
process or node died, in another process, as often as that happens; here it goes on behind the part
at which it died, and the pass ends when one part costs several processes.
"""

import json
import logging
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy
from ray.data.exceptions import ExecutionTimeoutError

from umc_ray import errors
from umc_ray.cluster.resources import ANY_NODE, Labels, check_resources, cpus, room
from umc_ray.errors import StageError, UmcError
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

Summary = dict[str, Any]
"""What a worker tells about an item: small, JSON; `rows` counts the rows it worked through."""

OnRows = Callable[[int], None]
"""Called with the number of rows that were just finished."""

NO_PROGRESS_TIMEOUT_S = 600

TRIES = 3
"""Processes that may die of a part before the pass ends; Ray alone would never stop."""

TASKS_PER_CPU = 4
MAX_ITEMS_PER_TASK = 16
"""A task costs 15 ms of processor time, as much as scoring 5,000 rows: so tasks are few, but enough
that every CPU is busy to the end, and none so long that progress stands still."""

Item = TypeVar("Item")
ItemIn = TypeVar("ItemIn", contravariant=True)


class Worker(Protocol[ItemIn]):
    """The work of a pass: cheap to send; what is dear to load is cached in the process."""

    @property
    def storage(self) -> Storage:
        """The run directory."""
        ...

    def output_key(self, item: ItemIn) -> str:
        """Name the file that holds the item's output."""
        ...

    def process(self, item: ItemIn) -> tuple[pa.Table, Summary]:
        """Compute the item's output and its summary."""
        ...


@dataclass(frozen=True)
class Compute:
    """Where a pass runs: `actors` processes that keep a model, or 0 for stateless tasks.

    With `max_actors`, more are started as the cluster grows. Only nodes with the labels take part.
    """

    actors: int = 0
    num_gpus: float = 0.0
    labels: Labels = field(default_factory=lambda: ANY_NODE)
    max_actors: int | None = None

    def for_items(self, items: int) -> Self:
        """Ask for no more actors than there are items."""
        most = None if self.max_actors is None else min(self.max_actors, items)
        actors = min(self.actors, items)
        return replace(self, actors=actors, max_actors=None if most == actors else most)

    def strategy(self) -> ActorPoolStrategy | TaskPoolStrategy:
        """Return Ray Data's form of it; a pool is fixed unless asked: it grows one by one."""
        if not self.actors:
            return TaskPoolStrategy()
        if self.max_actors is None:
            return ActorPoolStrategy(size=self.actors)
        return ActorPoolStrategy(min_size=self.actors, max_size=self.max_actors)


class _Step(Generic[Item]):
    """Adapts a worker to Ray Data, which speaks in batches of rows: all items of a task."""

    def __init__(self, worker: Worker[Item], items: Sequence[Item]) -> None:
        self.worker, self.items = worker, items

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        rows, failure = 0, ""
        try:
            begun = self._begin(batch["index"][0])
            for index in batch["index"]:
                rows += self._do(self.items[index], begun)["rows"]
        except UmcError as error:
            # Ray Data loses an error's type and cause on the way: what a user can meet
            # travels as a value.
            failure = f"{type(error).__name__}:{error}"
        return {"rows": np.array([rows]), "failure": np.array([failure])}

    def _begin(self, task: int) -> int:
        """Note that a task begins; returns how often it did."""
        folder = f"{_tries(self.worker)}/{task}"
        self.worker.storage.write_bytes(f"{folder}/{uuid.uuid4().hex}", b"")
        return len(self.worker.storage.keys(folder))

    def _do(self, item: Item, begun: int) -> Summary:
        """Do an item unless an earlier try of the task has done it."""
        if begun == 1:
            return run_item(self.worker, item)
        storage, key = self.worker.storage, self.worker.output_key(item)
        if storage.exists(key):
            return _summary(storage, key)
        if begun > TRIES:
            raise StageError(
                f"{TRIES} processes died, one after the other, while they made {key} in "
                f"{storage.root}: was there too little memory? Ray's logs say more"
            )
        return run_item(self.worker, item)


def run_item(worker: Worker[Item], item: Item) -> Summary:
    """Do the work of one item and store it; what a Ray worker does, callable without Ray."""
    table, summary = worker.process(item)
    metadata = {**(table.schema.metadata or {}), b"summary": json.dumps(summary).encode()}
    worker.storage.write_table(worker.output_key(item), table.replace_schema_metadata(metadata))
    return summary


def stream(
    worker: Worker[Item],
    items: Sequence[Item],
    compute: Compute,
    on_rows: OnRows | None = None,
) -> list[Summary]:
    """Run a worker over all items that have no output yet.

    Returns:
        The summaries of all items, in their order, also of those done before.

    Raises:
        ConfigError: the cluster has no room for the actors.
        StageError: the worker failed, or nothing moved for a long time.
    """
    done = set(worker.storage.keys(_common_folder([worker.output_key(item) for item in items])))
    todo = [item for item in items if worker.output_key(item) not in done]
    if todo:
        compute = compute.for_items(len(todo))
        check_resources(max(compute.actors, 1), compute.num_gpus, compute.labels)
        worker.storage.delete(_tries(worker))
        _run(worker, todo, compute, on_rows)
        worker.storage.delete(_tries(worker))
    return read_summaries(worker.storage, [worker.output_key(item) for item in items])


def _run(
    worker: Worker[Item], todo: Sequence[Item], compute: Compute, on_rows: OnRows | None
) -> None:
    """Stream the items through Ray Data."""
    _configure()
    step: Any = _Step(worker, todo)
    arguments: dict[str, Any] = {"num_cpus": cpus(compute.num_gpus)}
    if compute.labels:
        arguments["label_selector"] = dict(compute.labels)
    if compute.num_gpus:
        arguments["num_gpus"] = compute.num_gpus
    if compute.actors:
        step, arguments["fn_constructor_args"] = _Step, (worker, todo)
    indices = ray.data.from_items(
        [{"index": i} for i in range(len(todo))], override_num_blocks=_tasks(len(todo), compute)
    )
    finished = indices.map_batches(
        step,
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
        raise StageError(f"{type(worker).__name__} failed: {error}") from error


def _tries(worker: Worker[Any]) -> str:
    """Name the folder that counts how often each task was begun."""
    return f"tries/{type(worker).__name__}"


def _tasks(items: int, compute: Compute) -> int:
    """Return how many tasks do the items; an actor takes them one by one."""
    if compute.actors:
        return items
    even = TASKS_PER_CPU * max(1, room(0, compute.labels))
    return min(items, max(even, math.ceil(items / MAX_ITEMS_PER_TASK)))


def _configure() -> None:
    """Set what Ray Data needs for small items on small machines."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # Reserving a share of the cluster for each operator starts every pass with one task at a time.
    context.op_resource_reservation_enabled = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_TIMEOUT_S


def read_summaries(storage: Storage, keys: Sequence[str]) -> list[Summary]:
    """Read the summaries out of the footers of finished files."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda key: _summary(storage, key), keys))


def _summary(storage: Storage, key: str) -> Summary:
    summary: Summary = json.loads(storage.read_schema(key).metadata[b"summary"])
    return summary


def _common_folder(keys: Sequence[str]) -> str:
    """Return the deepest folder that holds all keys."""
    folders = [key.split("/")[:-1] for key in keys]
    common = []
    for steps in zip(*folders, strict=False):
        if len(set(steps)) > 1:
            break
        common.append(steps[0])
    return "/".join(common)
