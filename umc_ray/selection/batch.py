"""Choose what people are asked: for each domain some audits at random, the rest by selection.

Suffixes: N candidates, D embedding dimension, B batch, L labeled samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from umc_ray.config.campaign import SelectionConfig
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import INFORMED, Candidates, select
from umc_ray.records import BATCH, CANDIDATES, DomainKey, IntArray, Part, embeddings_array
from umc_ray.selection.gap_share import GapPicks, GapShare, search_gaps
from umc_ray.selection.gather import gather
from umc_ray.selection.group_floor import GroupFloor, raise_groups
from umc_ray.selection.labeled import labeled_so_far
from umc_ray.selection.random_orders import AUDIT, RANDOM, order_of, random_orders_key
from umc_ray.selection.selection_test import SelectionVerdict
from umc_ray.storage import Storage
from umc_ray.tasks.task import TaskKind

CHECKED = "its label is known and is being checked"
FOR_ITS_GROUP = "its group has a least share of the batch"
FOR_A_GAP = "for {}, which has few labels"

COLD_CANDIDATES = 1000
"""Random samples that compete for a domain's first batch, at least."""


@dataclass(frozen=True)
class DomainBatchSpec:
    """What is needed to choose one domain's part of a batch."""

    domain_key: DomainKey
    kind: TaskKind
    labels: int
    audits: int  # of the labels
    parts: tuple[Part, ...]
    features: str  # table of the encoder that selection goes by
    order_size: int  # of the stored random orders
    queried: IntArray
    scores: str | None  # rounds/<n> of the scores to go by; None: no model yet
    seed: int
    rounds: tuple[str, ...] = ()  # folders of the rounds before
    selection_test: SelectionVerdict | None = None  # whether selection paid, by the last round
    propagated: IntArray = field(default_factory=lambda: np.empty(0, np.int64))  # audits only
    to_check: pa.Table | None = None  # places of given labels that people check
    group_floor: GroupFloor | None = None  # of what is selected
    gaps: GapShare | None = None  # of what is selected once there is a model


def choose(
    specs: Sequence[DomainBatchSpec], selection: SelectionConfig, storage: Storage
) -> pa.Table:
    """Choose all domains' parts in parallel; returns a table of the BATCH schema."""
    choose_one = ray.remote(choose_domain)
    chosen = ray.get([choose_one.remote(spec, selection, storage) for spec in specs])
    return pa.concat_tables(chosen)


def choose_domain(spec: DomainBatchSpec, selection: SelectionConfig, storage: Storage) -> pa.Table:
    """Choose one domain's part: first the audits, then informative and diverse samples."""
    orders = storage.read_table(random_orders_key(spec.domain_key, spec.order_size))
    audits = not_in(order_of(orders, AUDIT), spec.queried)[: spec.audits]
    excluded = np.union1d(spec.queried, spec.propagated)
    taken = np.union1d(excluded, audits["sample_id"].to_numpy())
    checks = _checks(spec)
    n, raised = max(spec.labels - len(audits) - len(checks), 0), 0
    found = _of_gaps(spec, selection, storage, taken, n)
    taken, n = np.union1d(taken, np.array(list(found.gaps), np.int64)), n - len(found.picks)
    if _at_random(spec, selection):
        chosen = _as_candidates(spec.domain_key, not_in(order_of(orders, RANDOM), taken)[:n])
    elif spec.scores is None:
        drawn = not_in(order_of(orders, RANDOM), taken)
        chosen, raised = _cold_start(spec, selection, storage, drawn, n)
    else:
        chosen, raised = _active(spec, selection, storage, taken, n)
    picks = pa.concat_tables([_as_candidates(spec.domain_key, audits), found.picks, chosen])
    explained = _explained(spec, selection, storage, picks, len(audits), raised, found.gaps)
    return pa.concat_tables([explained, checks])


def _of_gaps(
    spec: DomainBatchSpec, selection: SelectionConfig, storage: Storage, taken: IntArray, n: int
) -> GapPicks:
    """Pick what lies in gaps; nothing where no gap is open."""
    if spec.gaps is None:
        return GapPicks(CANDIDATES.empty_table(), {})
    fill = partial(_selected, spec, storage, strategy=selection.strategy)
    per_label = selection.candidates_per_label
    return search_gaps(spec.gaps, storage, spec.parts, taken, n, per_label, fill)


def _checks(spec: DomainBatchSpec) -> pa.Table:
    """Return rows of the batch for given labels to check: half of it at most."""
    if spec.to_check is None:
        return BATCH.empty_table()
    picks = _as_candidates(spec.domain_key, spec.to_check[: spec.labels // 2])
    extra = {"audit": False, "predicted": None, "confidence": 0.0, "why": CHECKED}
    for name, value in extra.items():
        kind = BATCH.field(name).type
        picks = picks.append_column(name, pa.array([value] * len(picks), kind))
    return picks.cast(BATCH)


def _at_random(spec: DomainBatchSpec, selection: SelectionConfig) -> str | None:
    """Return why a domain's part is drawn at random, or None if it is selected."""
    if selection.strategy == "random":
        return "drawn at random"
    verdict = spec.selection_test
    if selection.fallback == "random" and verdict is not None and verdict.harmful:
        return f"drawn at random: {verdict}"
    return None


def _cold_start(
    spec: DomainBatchSpec, selection: SelectionConfig, storage: Storage, drawn: pa.Table, n: int
) -> tuple[pa.Table, int]:
    """Pick typical samples out of a random sample of the domain.

    Returns:
        The picks, and how many at the end are there for the floor of their group.
    """
    some = _as_candidates(
        spec.domain_key, drawn[: max(COLD_CANDIDATES, selection.candidates_per_label * n)]
    )
    picks, floor = _selected(spec, storage, some, n, selection.cold_start), spec.group_floor
    if floor is None:
        return picks, 0
    offered = floor.split(storage, spec.parts, _as_candidates(spec.domain_key, drawn))
    fill = partial(_selected, spec, storage, strategy=selection.cold_start)
    return raise_groups(floor, storage, spec.parts, picks, offered, fill)


def _active(
    spec: DomainBatchSpec, selection: SelectionConfig, storage: Storage, taken: IntArray, n: int
) -> tuple[pa.Table, int]:
    """Pick a diverse batch out of the most informative candidates.

    Returns:
        The picks, and how many at the end are there for the floor of their group.
    """
    table, m = f"{spec.scores}/top", selection.candidates_per_label * n
    best = most_informative(storage, spec.parts, table, taken, m)
    picks, floor = _selected(spec, storage, best, n, selection.strategy), spec.group_floor
    if floor is None:
        return picks, 0
    offered = floor.candidates(storage, spec.parts, table, taken, m)
    fill = partial(_selected, spec, storage, strategy=selection.strategy)
    return raise_groups(floor, storage, spec.parts, picks, offered, fill)


def most_informative(
    storage: Storage, parts: Sequence[Part], table: str, taken: IntArray, m: int
) -> pa.Table:
    """Merge the parts' best candidates part by part: memory does not grow with the domain."""
    best = CANDIDATES.empty_table()
    for part in parts:
        top = storage.read_table(part.key(table)).replace_schema_metadata()
        both = pa.concat_tables([best, not_in(top, taken)])
        order = top_m(both["acquisition"].to_numpy(), both["sample_id"].to_numpy(), m)
        best = both.take(pa.array(order))
    return best


def _selected(
    spec: DomainBatchSpec, storage: Storage, candidates: pa.Table, n: int, strategy: str
) -> pa.Table:
    embeddings = gather(storage, spec.parts, spec.features, candidates, ["embedding"])
    pool = Candidates(
        candidates["sample_id"].to_numpy(),
        candidates["acquisition"].to_numpy(),
        embeddings_array(embeddings["embedding"]).astype(np.float32),
    )
    before = spec.rounds if strategy in INFORMED else ()
    labeled = labeled_so_far(storage, before, spec.parts, spec.features, spec.kind)
    picks = select(
        strategy,
        pool,
        n,
        seed=spec.seed,
        labeled_embeddings=labeled.embeddings_LD,
        labeled_answers=labeled.answers_L,
    )
    return candidates.take(pa.array(picks))


def _explained(
    spec: DomainBatchSpec,
    selection: SelectionConfig,
    storage: Storage,
    picks: pa.Table,
    audits: int,
    raised: int,
    gaps: Mapping[int, str],
) -> pa.Table:
    """Complete picks to rows of the batch: what the ensemble predicts, and why people are asked."""
    n = len(picks)
    predicted: list[str | None] = [None] * n
    confidence = [0.0] * n
    if spec.scores is None:
        reasons = [f"a typical sample of {spec.domain_key.domain}: there is no model yet"] * n
    else:
        rows = gather(storage, spec.parts, f"{spec.scores}/scores", picks)
        texts, confidence = spec.kind.predicted(rows)
        predicted = list(texts)
        reasons = [_reason(spec, selection, row) for row in rows.to_pylist()]
    reasons[n - raised :] = [f"{each}; {FOR_ITS_GROUP}" for each in reasons[n - raised :]]
    at_random = _at_random(spec, selection)
    for i, sample_id in enumerate(picks["sample_id"].to_pylist()):
        if sample_id in gaps:
            reasons[i] = f"{reasons[i]}; {FOR_A_GAP.format(gaps[sample_id])}"
        elif at_random:
            reasons[i] = at_random
    extra = [
        pa.array([i < audits for i in range(n)]),
        pa.array(predicted, pa.string()),
        pa.array(confidence, pa.float32()),
        pa.array(["drawn at random, to measure accuracy"] * audits + reasons[audits:]),
    ]
    return pa.Table.from_arrays([*picks.columns, *extra], schema=BATCH)


def _reason(spec: DomainBatchSpec, selection: SelectionConfig, row: Mapping[str, Any]) -> str:
    """Say in a sentence why the ensemble wants a person to look."""
    return (
        f"{spec.kind.explain(row)}; among the most informative of {spec.domain_key.domain} "
        f"by {selection.acquisition.replace('_', ' ')}"
    )


def picked_for(why: str) -> str | None:
    """Return the gap that a sample was picked for, by the reason that is stored with it."""
    before, after = f"; {FOR_A_GAP}".split("{}")
    _, found, name = why.removesuffix(after).partition(before)
    return name if found and why.endswith(after) else None


def is_selected(why: str) -> bool:
    """Whether a sample was picked by the plain selection, by the same reason."""
    return why != CHECKED and picked_for(why) is None


def not_in(table: pa.Table, ids: IntArray) -> pa.Table:
    """Return the rows of samples that are not among the ids."""
    keep = ~np.isin(table["sample_id"].to_numpy(), ids)
    return table.filter(pa.array(keep))


def _as_candidates(domain_key: DomainKey, drawn: pa.Table) -> pa.Table:
    """Give draws the columns of candidates; without scores, all are as informative."""
    n = len(drawn)
    columns = [
        pa.array([domain_key.task] * n, pa.string()),
        pa.array([domain_key.domain] * n, pa.string()),
        drawn["part"],
        drawn["row"],
        drawn["sample_id"],
        pa.array(np.zeros(n, dtype=np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=CANDIDATES)
