"""The labeled samples so far, out of the batches and labels of all rounds."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from umc_ray.methods.rarity import UNANSWERED
from umc_ray.methods.selection import Labeled
from umc_ray.records import BATCH, LABELS, DomainKey, IntArray, embeddings_array
from umc_ray.selection.random_orders import AUDIT, RANDOM, labeled_prefix, random_orders_key
from umc_ray.specialists.training import TrainingSet
from umc_ray.storage import Storage


def labels_so_far(storage: Storage, rounds: Sequence[str]) -> pa.Table:
    """Return the labels of all given rounds, oldest first."""
    return pa.concat_tables([storage.read_table(f"{each}/labels.parquet") for each in rounds])


def labels_with_embeddings(storage: Storage, rounds: Sequence[str]) -> pa.Table:
    """Return the labels of all given rounds, oldest first, with what the samples were chosen by."""
    labels, columns = labels_so_far(storage, rounds), ["sample_id", "embedding"]
    batch = pa.concat_tables([storage.read_table(f"{r}/batch.parquet", columns) for r in rounds])
    ids_N = batch["sample_id"].to_numpy()
    order = np.argsort(ids_N)
    rows = order[np.searchsorted(ids_N, labels["sample_id"].to_numpy(), sorter=order)]
    return labels.append_column("embedding", batch["embedding"].take(pa.array(rows)))


def of_task(table: pa.Table, task: str) -> pa.Table:
    """Return the rows of a task."""
    return table.filter(pa.array(_equal(table, "task", task)))


def labeled_so_far(storage: Storage, rounds: Sequence[str], domain_key: DomainKey) -> Labeled:
    """Return a domain's samples that people were asked about, with their answers.

    A round that is being answered still has no answers yet.
    """
    columns = ["task", "domain", "sample_id", "embedding"]
    asked, answered = BATCH.empty_table().select(columns), LABELS.empty_table()
    for each in rounds:
        asked = pa.concat_tables([asked, storage.read_table(f"{each}/batch.parquet", columns)])
        if storage.exists(f"{each}/labels.parquet"):
            answered = pa.concat_tables([answered, labels_so_far(storage, [each])])
    asked = of_task(asked, domain_key.task)
    asked = asked.filter(pa.array(_equal(asked, "domain", domain_key.domain)))
    answers = dict(
        zip(answered["sample_id"].to_pylist(), answered["label"].to_pylist(), strict=True)
    )
    return Labeled(
        embeddings_array(asked["embedding"]).astype(np.float32),
        np.array([answers.get(i, UNANSWERED) for i in asked["sample_id"].to_pylist()]),
    )


def training_sets(
    storage: Storage, rounds: Sequence[str], queried: Mapping[DomainKey, IntArray], order_size: int
) -> dict[str, TrainingSet]:
    """Return each task's labeled samples, with the embeddings they were chosen by.

    Args:
        storage: the run directory.
        rounds: the folders of the rounds to learn from.
        queried: all samples people were asked about, by domain.
        order_size: size of the stored random orders.
    """
    labels = labels_with_embeddings(storage, rounds)
    heads = {
        purpose: {
            domain_key: labeled_prefix(
                storage.read_table(random_orders_key(domain_key, order_size)), purpose, ids
            )
            for domain_key, ids in queried.items()
        }
        for purpose in (AUDIT, RANDOM)
    }
    return {
        task: _training_set(task, of_task(labels, task), heads)
        for task in sorted(set(labels["task"].to_pylist()))
    }


def _training_set(
    task: str, labels: pa.Table, heads: Mapping[str, Mapping[DomainKey, IntArray]]
) -> TrainingSet:
    ids_N: IntArray = labels["sample_id"].to_numpy()
    drawn_N = {
        purpose: np.isin(
            ids_N, np.concatenate([h for domain_key, h in by.items() if domain_key.task == task])
        )
        for purpose, by in heads.items()
    }
    return TrainingSet(
        embeddings_ND=embeddings_array(labels["embedding"]).astype(np.float32),
        labels_N=labels["label"].to_numpy().astype(np.int64),
        domains_N=np.array(labels["domain"].to_pylist(), dtype=np.str_),
        ids_N=ids_N,
        audit_N=drawn_N[AUDIT],
        random_N=drawn_N[AUDIT] | drawn_N[RANDOM],
        rounds_N=labels["round"].to_numpy().astype(np.int64),
        agreement_N=labels["agreement"].to_numpy().astype(np.float32),
    )


def _equal(table: pa.Table, column: str, value: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([each == value for each in table[column].to_pylist()], dtype=np.bool_)
