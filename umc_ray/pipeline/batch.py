"""Choose what people are asked: each domain's share, part at random and part by selection.

Suffixes: N candidates, D embedding dimension, B batch, L labeled samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from umc_ray.config import SelectionConfig
from umc_ray.methods.scoring import top_m
from umc_ray.methods.selection import INFORMED, Candidates, select
from umc_ray.pipeline.benefit import say
from umc_ray.pipeline.draws import AUDIT, RANDOM, draws_key, order_of
from umc_ray.pipeline.labeled import labeled_so_far
from umc_ray.records import BATCH, CANDIDATES, Arm, IntArray, Part, embeddings_array
from umc_ray.storage import Storage

COLD_CANDIDATES = 1000
"""Samples drawn at random that at least compete for a domain's first batch."""

NO_MODEL = -1


@dataclass(frozen=True)
class Share:
    """What one domain contributes to a batch, and all that is needed to choose it."""

    arm: Arm
    labels: int
    audits: int  # of the labels
    parts: tuple[Part, ...]
    features: str
    draws: int  # size of the stored random orders
    asked: IntArray
    scores: str | None  # rounds/<n> of the scores to go by; None: no model yet
    classes: tuple[str, ...]
    seed: int
    rounds: tuple[str, ...] = ()  # folders of the rounds that asked before
    benefit: Mapping[str, Any] | None = None  # whether selection paid, by the last round
    spared: IntArray = field(default_factory=lambda: np.empty(0, np.int64))  # drawn as audits only


def choose(shares: Sequence[Share], selection: SelectionConfig, storage: Storage) -> pa.Table:
    """Choose all domains' shares in parallel; a table of the BATCH schema."""
    choose_one = ray.remote(choose_share)
    chosen = ray.get([choose_one.remote(share, selection, storage) for share in shares])
    return pa.concat_tables(chosen)


def choose_share(share: Share, selection: SelectionConfig, storage: Storage) -> pa.Table:
    """Choose one domain's share: first the audits, then the informative and diverse ones."""
    draws = storage.read_table(draws_key(share.arm, share.draws))
    audits = _not_in(order_of(draws, AUDIT), share.asked)[: share.audits]
    closed = np.union1d(share.asked, share.spared)
    taken = np.union1d(closed, audits["sample_id"].to_numpy())
    n = share.labels - len(audits)
    if _at_random(share, selection):
        chosen = _as_candidates(share.arm, _not_in(order_of(draws, RANDOM), taken)[:n])
    elif share.scores is None:
        chosen = _cold_start(share, selection, storage, _not_in(order_of(draws, RANDOM), taken), n)
    else:
        chosen = _active(share, selection, storage, taken, n)
    picks = pa.concat_tables([_as_candidates(share.arm, audits), chosen])
    return _explained(share, selection, storage, picks, len(audits))


def _at_random(share: Share, selection: SelectionConfig) -> str | None:
    """Say why the share is drawn at random, if it is."""
    if selection.strategy == "random":
        return "drawn at random"
    if selection.fallback == "random" and share.benefit is not None and share.benefit["worse"]:
        return f"drawn at random: {say(share.benefit)}"
    return None


def _cold_start(
    share: Share, selection: SelectionConfig, storage: Storage, drawn: pa.Table, n: int
) -> pa.Table:
    """Pick typical samples out of a random sample of the domain."""
    drawn = drawn[: max(COLD_CANDIDATES, selection.candidates_per_label * n)]
    return _selected(share, storage, _as_candidates(share.arm, drawn), selection.cold_start, n)


def _active(
    share: Share, selection: SelectionConfig, storage: Storage, taken: IntArray, n: int
) -> pa.Table:
    """Pick a diverse batch out of the most informative candidates."""
    best = _most_informative(share, storage, taken, selection.candidates_per_label * n)
    return _selected(share, storage, best, selection.strategy, n)


def _most_informative(share: Share, storage: Storage, taken: IntArray, m: int) -> pa.Table:
    """Merge the parts' best candidates part by part: memory does not grow with the domain."""
    best = CANDIDATES.empty_table()
    for part in share.parts:
        top = storage.read_table(part.key(f"{share.scores}/top")).replace_schema_metadata()
        both = pa.concat_tables([best, _not_in(top, taken)])
        order = top_m(both["acquisition"].to_numpy(), both["sample_id"].to_numpy(), m)
        best = both.take(pa.array(order))
    return best


def _selected(
    share: Share, storage: Storage, candidates: pa.Table, strategy: str, n: int
) -> pa.Table:
    embeddings = gather(storage, share.parts, share.features, candidates, ["embedding"])
    pool = Candidates(
        candidates["sample_id"].to_numpy(),
        candidates["acquisition"].to_numpy(),
        embeddings_array(embeddings["embedding"]).astype(np.float32),
    )
    before = share.rounds if strategy in INFORMED else ()
    labeled = labeled_so_far(storage, before, share.arm)
    picks = select(
        strategy,
        pool,
        n,
        seed=share.seed,
        labeled_embeddings=labeled.embeddings_LD,
        labeled_answers=labeled.answers_L,
    )
    return candidates.take(pa.array(picks))


def gather(
    storage: Storage, parts: Sequence[Part], table: str, picks: pa.Table, columns: list[str]
) -> pa.Table:
    """Read the rows of a table that belong to picks (columns part and row), in their order."""
    names = np.asarray(picks["part"].to_pylist(), dtype=np.str_)
    rows = picks["row"].to_numpy()
    found, positions = [], []
    for part in parts:
        mine = np.flatnonzero(names == part.name)
        if len(mine):
            content = storage.read_table(part.key(table), columns)
            found.append(content.take(pa.array(rows[mine])).replace_schema_metadata())
            positions.append(mine)
    if not found:
        return storage.read_table(parts[0].key(table), columns)[:0]
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(positions))))


def _explained(
    share: Share, selection: SelectionConfig, storage: Storage, picks: pa.Table, audits: int
) -> pa.Table:
    """Complete picks to rows of the batch: their embeddings, what the models think, and why."""
    n = len(picks)
    embeddings = gather(storage, share.parts, share.features, picks, ["embedding"])
    if share.scores is None:
        predicted, confidence = [NO_MODEL] * n, [0.0] * n
        reasons = [f"a typical sample of {share.arm.domain}: there is no model yet"] * n
    else:
        thoughts = gather(storage, share.parts, f"{share.scores}/scores", picks, list(THOUGHTS))
        predicted, confidence = thoughts["label_1"].to_pylist(), thoughts["prob_1"].to_pylist()
        reasons = [_reason(share, selection, row) for row in thoughts.to_pylist()]
    if at_random := _at_random(share, selection):
        reasons = [at_random] * n
    extra = [
        pa.array([i < audits for i in range(n)]),
        pa.array(embeddings["embedding"].to_pylist(), pa.binary()),
        pa.array(predicted, pa.int16()),
        pa.array(confidence, pa.float32()),
        pa.array(["drawn at random, to measure accuracy"] * audits + reasons[audits:]),
    ]
    return pa.Table.from_arrays([*picks.columns, *extra], schema=BATCH)


THOUGHTS = ("label_1", "prob_1", "label_2", "prob_2", "disagreement")


def _reason(share: Share, selection: SelectionConfig, row: dict[str, float]) -> str:
    """Say in a sentence why the ensemble wants a person to look."""
    first, second = share.classes[int(row["label_1"])], share.classes[int(row["label_2"])]
    gap = 100 * (row["prob_1"] - row["prob_2"])
    return (
        f"{first} and {second} are {gap:.0f} points apart, the specialists disagree by "
        f"{row['disagreement']:.2f} bit; among the most informative of {share.arm.domain} "
        f"by {selection.acquisition.replace('_', ' ')}"
    )


def _not_in(table: pa.Table, ids: IntArray) -> pa.Table:
    keep = ~np.isin(table["sample_id"].to_numpy(), ids)
    return table.filter(pa.array(keep))


def _as_candidates(arm: Arm, drawn: pa.Table) -> pa.Table:
    """Give draws the columns of candidates; without scores, all are as informative."""
    n = len(drawn)
    columns = [
        pa.array([arm.task] * n, pa.string()),
        pa.array([arm.domain] * n, pa.string()),
        drawn["part"],
        drawn["row"],
        drawn["sample_id"],
        pa.array(np.zeros(n, dtype=np.float32)),
    ]
    return pa.Table.from_arrays(columns, schema=CANDIDATES)
