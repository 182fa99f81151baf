"""The labeled samples so far, out of the batches and labels of all rounds.

Embeddings are read from the features of the encoder that asks for them, by part and row.

Suffixes: N samples, L labeled ones, D embedding dimension.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.encoders.encoder import Payload
from umc_ray.ingest.groups import GroupNames, group_names
from umc_ray.methods.rarity import UNANSWERED
from umc_ray.methods.selection import Labeled
from umc_ray.passes.score import FeatureTables
from umc_ray.records import (
    BATCH,
    CANDIDATES,
    LABELS,
    STANDINGS,
    DomainKey,
    FloatArray,
    IntArray,
    Part,
    embeddings_array,
    split_of_part,
)
from umc_ray.selection.gather import gather
from umc_ray.selection.random_orders import AUDIT, RANDOM, labeled_prefix, random_orders_key
from umc_ray.specialists.specialist import Examples, SyntheticRows
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

PLACE = CANDIDATES.names[:5]
"""The columns that say where a sample is: task, domain, part, row, sample_id."""


def parts_of(places: pa.Table) -> list[Part]:
    """Return the parts that places name, for readers that live longer than a manifest.

    Their number of rows is not known: 0.
    """
    columns = (places[name].to_pylist() for name in ("task", "domain", "part"))
    return [
        Part(split_of_part(name), DomainKey(task, domain), name, 0)
        for task, domain, name in sorted(set(zip(*columns, strict=True)))
    ]


def labels_so_far(storage: Storage, rounds: Sequence[str]) -> pa.Table:
    """Return the labels of all given rounds, oldest first, with what was corrected in them."""
    labels = LABELS.empty_table()
    for each in rounds:  # a given label that people have checked is in two of them
        labels = _replaced(labels, _read_labels(storage, f"{each}/labels.parquet"))
        if storage.exists(corrections_key(each)):
            labels = _replaced(labels, _read_labels(storage, corrections_key(each)))
    return labels


def _read_labels(storage: Storage, key: str) -> pa.Table:
    """Read labels; those of a round before ties were marked have none."""
    labels = storage.read_table(key)
    if "tied" in labels.column_names:
        return labels
    return labels.append_column(LABELS.field("tied"), pa.array([False] * len(labels)))


def corrections_key(round_folder: str) -> str:
    """Name the table of the labels that were corrected in a round; null: there is none any more."""
    return f"{round_folder}/corrections.parquet"


def _replaced(labels: pa.Table, later: pa.Table) -> pa.Table:
    """Return labels with later ones in place of those of the same samples."""
    replaced = np.isin(labels["sample_id"].to_numpy(), later["sample_id"].to_numpy())
    valid = later.filter(later["label"].is_valid())
    return pa.concat_tables([labels.filter(pa.array(~replaced)), valid])


def of_task(table: pa.Table, task: str) -> pa.Table:
    """Return the rows of a task."""
    return table.filter(pa.array(_equal(table, "task", task)))


def of_domain(table: pa.Table, domain_key: DomainKey) -> pa.Table:
    """Return the rows of a domain."""
    rows = _equal(table, "task", domain_key.task) & _equal(table, "domain", domain_key.domain)
    return table.filter(pa.array(rows))


def read_embeddings(
    storage: Storage, parts: Sequence[Part], features: str, places: pa.Table
) -> FloatArray:
    """Read the embeddings LD of samples of one task's pools, in their order."""
    blocks, positions = [], []
    for rows, own in _by_domain(parts, places):
        found = gather(storage, own, features, places.take(pa.array(rows)), ["embedding"])
        blocks.append(embeddings_array(found["embedding"]).astype(np.float32))
        positions.append(rows)
    if not blocks:
        return np.empty((0, 0), np.float32)
    embeddings_LD: FloatArray = np.concatenate(blocks)[np.argsort(np.concatenate(positions))]
    return embeddings_LD


def _read_payloads(
    storage: Storage, parts: Sequence[Part], column: str, places: pa.Table
) -> list[Payload]:
    """Read samples of one task's pools, in the order of the places."""
    found: list[Payload] = [""] * len(places)
    for rows, own in _by_domain(parts, places):
        read = gather(storage, own, "pool", places.take(pa.array(rows)), [column])
        for row, payload in zip(rows.tolist(), read[column].to_pylist(), strict=True):
            found[row] = payload
    return found


def _read_groups(
    storage: Storage,
    parts: Sequence[Part],
    named: Mapping[str, Sequence[str]],
    places: pa.Table,
) -> dict[str, GroupNames]:
    """Read the groups of samples of one task's pools, by attribute; "" where a domain has none.

    `named` has the attributes of each domain.
    """
    names = dict.fromkeys(name for own in named.values() for name in own)
    found = {name: np.full(len(places), "", dtype=object) for name in names}
    for rows, own in _by_domain(parts, places):
        columns = list(named.get(own[0].domain_key.domain, ()))
        if columns:
            kept = gather(storage, own, "kept", places.take(pa.array(rows)), columns)
            for name, groups_N in group_names(kept).items():
                found[name][rows] = groups_N
    return {name: groups_N.astype(np.str_) for name, groups_N in found.items()}


def _by_domain(parts: Sequence[Part], places: pa.Table) -> Iterator[tuple[IntArray, list[Part]]]:
    """Return the rows of each domain among the places, and the parts that these may be in."""
    domains_L = np.asarray(places["domain"].to_pylist(), dtype=np.str_)
    for domain in np.unique(domains_L).tolist():
        own = [
            part
            for part in parts
            if part.split in ("pool", "synthetic") and part.domain_key.domain == domain
        ]
        yield np.flatnonzero(domains_L == domain), own


def labeled_so_far(
    storage: Storage, rounds: Sequence[str], parts: Sequence[Part], features: str, kind: TaskKind
) -> Labeled:
    """Return a domain's samples that people were asked about, with their answers.

    A round that is being answered still has no answers yet.

    Args:
        storage: the run directory.
        rounds: folders of the rounds to look at.
        parts: of the domain's pool.
        features: the table of the embeddings.
        kind: of the domain's task.
    """
    queried, answered = BATCH.empty_table().select(PLACE), LABELS.empty_table()
    for each in rounds:
        queried = pa.concat_tables([queried, storage.read_table(f"{each}/batch.parquet", PLACE)])
        if storage.exists(f"{each}/labels.parquet"):
            answered = pa.concat_tables([answered, labels_so_far(storage, [each])])
    if parts:
        queried = of_domain(queried, parts[0].domain_key)
        answered = of_domain(answered, parts[0].domain_key)
    strata = kind.strata(answered["label"].to_pylist()).tolist()
    answers = dict(zip(answered["sample_id"].to_pylist(), strata, strict=True))
    ids = queried["sample_id"].to_pylist()
    embeddings_LD = read_embeddings(storage, parts, features, queried)
    there_L = np.isfinite(embeddings_LD).all(axis=1)  # others are forgotten
    answers_L = np.array([answers.get(i, UNANSWERED) for i in ids], dtype=np.int64)
    return Labeled(embeddings_LD[there_L], answers_L[there_L])


def examples_by_task(
    storage: Storage,
    rounds: Sequence[str],
    queried: Mapping[DomainKey, IntArray],
    order_size: int,
    parts: Sequence[Part],
    features: Mapping[str, FeatureTables],
    kinds: Mapping[str, TaskKind],
    payloads: Mapping[str, str] = MappingProxyType({}),
    synthetic: pa.Table | None = None,
    synthetic_weight: float = 1.0,
    groups: Mapping[DomainKey, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Examples]:
    """Return each task's labeled samples, with their embeddings by each of its encoders.

    Args:
        storage: the run directory.
        rounds: the folders of the rounds to learn from.
        queried: all samples people were asked about, by domain.
        order_size: size of the stored random orders.
        parts: of all pools, and of synthetic samples.
        features: by task, the table of each encoder's features.
        kinds: of the tasks.
        payloads: by task, the column of the samples themselves, where specialists read them.
        synthetic: standings of synthetic samples; tasks without real labels leave them out.
        synthetic_weight: what each counts for in training.
        groups: by domain, the columns that say to which groups its samples belong.
    """
    labels = labels_so_far(storage, rounds)
    prefixes = {
        purpose: {
            domain_key: labeled_prefix(
                storage.read_table(random_orders_key(domain_key, order_size)), purpose, ids
            )
            for domain_key, ids in queried.items()
        }
        for purpose in (AUDIT, RANDOM)
    }
    found = {}
    for task in sorted(set(labels["task"].to_pylist())):
        real = rows = of_task(labels, task)
        made = None
        if synthetic is not None:
            audits = _ids_of(prefixes[AUDIT], task)
            rows, made = _joined(rows, _standing(synthetic, task), audits, synthetic_weight)
        own = [part for part in parts if part.domain_key.task == task]
        embeddings = {
            name: read_embeddings(storage, own, table, rows)
            for name, table in features[task].items()
        }
        examples = _examples(task, rows, embeddings, prefixes, kinds[task])
        if task in payloads:
            read = _read_payloads(storage, own, payloads[task], rows)
            examples = replace(examples, payloads_N=tuple(read))
        named = {key.domain: names for key, names in groups.items() if key.task == task and names}
        groups_N = {
            name: np.append(values, np.repeat("", len(rows) - len(real)))  # synthetic: of none
            for name, values in _read_groups(storage, own, named, real).items()
        }
        found[task] = replace(examples, synthetic=made, groups=groups_N)
    return found


def _examples(
    task: str,
    labels: pa.Table,
    embeddings: Mapping[str, FloatArray],
    prefixes: Mapping[str, Mapping[DomainKey, IntArray]],
    kind: TaskKind,
) -> Examples:
    ids_N: IntArray = labels["sample_id"].to_numpy()
    drawn_N = {purpose: np.isin(ids_N, _ids_of(by, task)) for purpose, by in prefixes.items()}
    texts = labels["label"].to_pylist()
    return Examples(
        texts_N=tuple(texts),
        targets=kind.encode(texts),
        features=embeddings,
        domains_N=np.array(labels["domain"].to_pylist(), dtype=np.str_),
        ids_N=ids_N,
        audit_N=drawn_N[AUDIT],
        random_N=drawn_N[AUDIT] | drawn_N[RANDOM],
        rounds_N=labels["round"].to_numpy().astype(np.int64),
        agreement_N=labels["agreement"].to_numpy().astype(np.float32),
    )


def _ids_of(by_domain: Mapping[DomainKey, IntArray], task: str) -> IntArray:
    return np.concatenate([ids for key, ids in by_domain.items() if key.task == task])


def _standing(synthetic: pa.Table, task: str) -> pa.Table:
    """Return the synthetic samples of a task that take part: those with a label."""
    mine = of_task(synthetic, task)
    return mine.filter(mine["label"].is_valid())


def _joined(
    real: pa.Table, synthetic: pa.Table, audits: IntArray, weight: float
) -> tuple[pa.Table, SyntheticRows | None]:
    """Return labels of real samples and, after them, of synthetic ones, and how these take part.

    What was made from several audit samples is left out: no fold could hold it out with all.
    """
    few = [np.isin(each, audits).sum() < 2 for each in synthetic["exemplars"].to_pylist()]
    synthetic = synthetic.filter(pa.array(few, pa.bool_()))
    if not len(synthetic):
        return real, None
    weights_N = np.repeat(np.array([1, weight], np.float32), [len(real), len(synthetic)])
    origins_N = np.append(real["sample_id"].to_numpy(), _origins(synthetic, audits))
    names = [name for name in LABELS.names if name in STANDINGS.names]
    rows = pa.concat_tables([real.select(names), synthetic.select(names)])
    return rows, SyntheticRows(len(real), weights_N, origins_N)


def _origins(made: pa.Table, audits: IntArray) -> IntArray:
    """Return the sample that each synthetic one is held out with.

    That is the audit sample among its exemplars, or its only exemplar, or else itself.
    """
    known, origins = set(audits.tolist()), []
    pairs = zip(made["sample_id"].to_pylist(), made["exemplars"].to_pylist(), strict=True)
    for sample_id, exemplars in pairs:
        judged = [each for each in exemplars if each in known]
        only = exemplars if len(exemplars) == 1 else [sample_id]
        origins.append((judged or only)[0])
    return np.array(origins, np.int64)


def _equal(table: pa.Table, column: str, value: str) -> npt.NDArray[np.bool_]:
    return np.array([each == value for each in table[column].to_pylist()], dtype=np.bool_)
