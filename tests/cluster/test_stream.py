from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pytest

from umc_ray.cluster.stream import Compute, Summary, read_summaries, run_item, stream
from umc_ray.errors import ConfigError, DataError, StageError, StoreError
from umc_ray.storage import Storage

ERRORS = {"config": ConfigError, "data": DataError, "value": ValueError, "store": StoreError}


@dataclass(frozen=True)
class Halved(Summary):
    half: float


@dataclass(frozen=True)
class Doubler:
    """Doubles numbers; some items fail, and each processed item is logged."""

    storage: Storage
    failing: tuple[tuple[int, str], ...] = ()
    summary_type: ClassVar = Halved

    def output_key(self, item):
        return f"out/{item}.parquet"

    def process(self, item):
        error = dict(self.failing).get(item)
        if error is not None:
            raise ERRORS[error](f"item {item}: no {error}")
        self.storage.append_line(f"processed/{item}", "once")
        return pa.table({"value": [2 * item]}), Halved(item, item / 2)


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path))


def processed_counts(storage):
    """Return how many times each item was processed."""
    return {
        int(key.split("/")[1]): storage.read_bytes(key).count(b"once")
        for key in storage.keys("processed")
    }


def test_running_an_item_stores_its_table_and_its_summary(storage):
    assert run_item(Doubler(storage), 3) == Halved(3, 1.5)
    assert storage.read_table("out/3.parquet")["value"].to_pylist() == [6]
    assert read_summaries(storage, ["out/3.parquet"], Halved) == [Halved(3, 1.5)]


@pytest.mark.ray
@pytest.mark.parametrize(
    "compute",
    [Compute(), Compute(actors=1), Compute(actors=1, max_actors=2)],
    ids=["tasks", "actors", "growing"],
)
def test_only_missing_items_run_and_all_summaries_are_returned_in_order(
    storage, ray_cluster, compute
):
    worker, finished = Doubler(storage), []
    run_item(worker, 5)
    items = [4, 5, 1, 40]
    summaries = stream(worker, items, compute, finished.append)
    assert [summary.rows for summary in summaries] == items
    assert sum(finished) == 45
    assert processed_counts(storage) == dict.fromkeys(items, 1)
    assert stream(worker, items, compute, finished.append) == summaries
    assert processed_counts(storage) == dict.fromkeys(items, 1)


@pytest.mark.ray
def test_many_items_share_tasks_and_each_runs_once(storage, ray_cluster):
    items = list(range(30))
    summaries = stream(Doubler(storage), items, Compute())
    assert [summary.rows for summary in summaries] == items
    assert processed_counts(storage) == dict.fromkeys(items, 1)


@pytest.mark.ray
def test_a_umc_error_keeps_its_type_and_message(storage, ray_cluster):
    worker = Doubler(storage, failing=((2, "data"),))
    with pytest.raises(DataError, match=r"^item 2: no data$"):
        stream(worker, [1, 2, 3], Compute())


@pytest.mark.ray
def test_items_finished_before_a_failure_are_not_run_again(storage, ray_cluster):
    broken = Doubler(storage, failing=((7, "store"),))
    with pytest.raises(StoreError):
        stream(broken, [7], Compute())
    run_item(broken, 1)
    assert [s.rows for s in stream(Doubler(storage), [1, 7], Compute())] == [1, 7]
    assert processed_counts(storage) == {1: 1, 7: 1}


@pytest.mark.ray
def test_any_other_error_becomes_a_stage_error_that_names_the_worker(storage, ray_cluster):
    worker = Doubler(storage, failing=((2, "value"),))
    with pytest.raises(StageError, match=r"(?s)Doubler failed.*ValueError: item 2: no value"):
        stream(worker, [1, 2], Compute())
