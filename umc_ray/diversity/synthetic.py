"""Synthetic samples of a run directory: parts of their own, with where each sample comes from.

    pool/synthetic/<task>/<domain>/<part>     the samples, as those of a pool
    oracle/synthetic/...                      what a replayed person answers, if that is known
    synthetic/<task>/<domain>/<part>          where they come from; written last

A part is there once its last table is. No pool has parts of these names, and nothing that goes over
pools sees them: random orders, audits, scores, coverage and certificates are of real samples only.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from umc_ray.diversity.generators.generator import Generated, Payload
from umc_ray.ingest.manifest import is_ingested, load_manifest, read_index
from umc_ray.ingest.parts import content_words
from umc_ray.methods.identity import content_hash, sample_ids
from umc_ray.methods.unicode_text import comparable
from umc_ray.records import (
    CANDIDATES,
    ORACLE,
    POOL,
    SYNTHETIC,
    SYNTHETIC_PART,
    DomainKey,
    IntArray,
    Part,
    Split,
)
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

TABLE = "synthetic"
COPIES: Mapping[Split, str] = {"pool": "a sample of the pool", "test": "a sample of a test"}
MADE_BEFORE = "the same was made before"


PLACED = pa.schema([*[*CANDIDATES][:4], *SYNTHETIC])
"""The samples of several parts: where they are (task, domain, part, row), and what made them."""


@dataclass(frozen=True)
class Origin:
    """Who made a part's samples, and for which gap; empty: for none in particular."""

    generator: str
    version: str
    gap: str = ""


@dataclass(frozen=True)
class Checked:
    """A generated sample, and what filters say of it; `key` names it among those of its domain.

    `answer` is what a replayed person says of it; None: that it has no label.
    """

    key: str
    sample: Generated
    copy_ratio: float | None = None
    distance: float | None = None
    agreement: float | None = None
    refused: str | None = None
    answer: str | None = None


def write_part(
    storage: Storage,
    domain_key: DomainKey,
    name: str,
    origin: Origin,
    samples: Sequence[Checked],
    of_task: Sequence[DomainKey],
    has_answers: bool = False,
) -> Part | None:
    """Store generated samples as a part, once; None if all of them are there already.

    Exact copies of real samples, and of synthetic ones, are stored as refused.

    Args:
        storage: the run directory.
        domain_key: the domain that they are of.
        name: of the part, after `synthetic-`; the same samples must have the same name.
        origin: who made them.
        samples: with what filters say of them.
        of_task: all domains of the task, whose pools and tests they must not repeat.
        has_answers: a replay knows what people say of them.
    """
    known = synthetic_parts(storage, [domain_key])
    part = Part("synthetic", domain_key, f"{SYNTHETIC_PART}{name}", 0)
    there = next((each for each in known if each.name == part.name), None)
    if there is not None:
        return there
    new = _new(storage, domain_key, known, samples)
    if not new:
        return None
    copies = _copies(storage, of_task, known, new)
    storage.write_table(part.key("pool"), _pool_table(domain_key, origin, new))
    if has_answers:
        answers = [each.answer for each in new]
        columns = [_ids(domain_key, new), answers, [None] * len(new)]
        arrays = [pa.array(c, t) for c, t in zip(columns, ORACLE.types, strict=True)]
        storage.write_table(part.key("oracle"), pa.table(arrays, schema=ORACLE))
    rows = [_origin_row(origin, each, copies.get(i)) for i, each in enumerate(new)]
    ids = _ids(domain_key, new).tolist()
    named = [{"sample_id": i, **row} for i, row in zip(ids, rows, strict=True)]
    storage.write_table(table_key(part), pa.Table.from_pylist(named, SYNTHETIC))
    return Part(part.split, domain_key, part.name, len(new))


def synthetic_parts(storage: Storage, domain_keys: Sequence[DomainKey]) -> tuple[Part, ...]:
    """Return the parts of synthetic samples of some domains that are there."""
    by_domain: dict[str, list[str]] = {}
    for path in sorted(storage.keys(TABLE)):  # listed once, however many domains there are
        by_domain.setdefault(path.removeprefix(f"{TABLE}/").rpartition("/")[0], []).append(path)
    return tuple(
        Part("synthetic", key, path.rsplit("/", 1)[-1].removesuffix(".parquet"), rows)
        for key in domain_keys
        for path in by_domain.get(str(key), [])
        if path.endswith(".parquet") and (rows := _count(storage, path))
    )


@lru_cache(maxsize=10_000)  # a part never changes, and its number of rows is asked for often
def _count(storage: Storage, path: str) -> int:
    return storage.count_rows(path)


def table_key(part: Part) -> str:
    """Name the table that tells where a part's samples come from."""
    return f"{TABLE}/{part.domain_key}/{part.name}.parquet"


def read_origins(storage: Storage, parts: Sequence[Part]) -> pa.Table:
    """Return where the samples of some parts are, and where they come from."""
    tables = [PLACED.empty_table()]
    for part in parts:
        table = storage.read_table(table_key(part))
        ids = table["sample_id"].to_numpy()
        origin = [table[name] for name in SYNTHETIC.names[1:]]
        columns = [*part.places(np.arange(len(ids)), ids), *origin]
        tables.append(pa.table(columns, schema=PLACED))
    return pa.concat_tables(tables)


def _new(
    storage: Storage, domain_key: DomainKey, known: Sequence[Part], samples: Sequence[Checked]
) -> list[Checked]:
    """Drop samples that have the name of an earlier one."""
    tables = [storage.read_table(table_key(part), ["sample_id"]) for part in known]
    seen = {sample_id for table in tables for sample_id in table["sample_id"].to_pylist()}
    new = []
    for sample_id, each in zip(_ids(domain_key, samples).tolist(), samples, strict=True):
        if sample_id not in seen:
            new.append(each)
            seen.add(sample_id)
    return new


def _ids(domain_key: DomainKey, samples: Sequence[Checked]) -> IntArray:
    keys = [comparable(each.key) for each in samples]
    return sample_ids(domain_key.task, domain_key.domain, "synthetic", keys)


def _copies(
    storage: Storage, of_task: Sequence[DomainKey], known: Sequence[Part], new: Sequence[Checked]
) -> dict[int, str]:
    """Return which samples repeat another one exactly, and which."""
    contents = [_content(each.sample.payload) for each in new]
    found: dict[int, str] = {}
    for split, name in COPIES.items():
        for key in (key for key in of_task if is_ingested(storage, key, split)):
            generation = load_manifest(storage, key, split).generation
            words_K2 = content_words(read_index(storage, key, split, generation))
            real = {row.tobytes() for row in words_K2}
            found |= {i: f"a copy of {name}" for i, each in enumerate(contents) if each in real}
    made = {_content(payload) for part in known for payload in _payloads(storage, part)}
    for i, content in enumerate(contents):
        if content in made:
            found.setdefault(i, MADE_BEFORE)
        made.add(content)
    return found


def _content(payload: Payload) -> bytes:
    return content_hash(comparable(payload).encode() if isinstance(payload, str) else payload)


def _payloads(storage: Storage, part: Part) -> list[Payload]:
    table = storage.read_table(part.key("pool"), ["text", "image"])
    pairs = zip(table["text"].to_pylist(), table["image"].to_pylist(), strict=True)
    found = [text if image is None else image for text, image in pairs]
    return [each for each in found if each is not None]  # others are forgotten


def _pool_table(domain_key: DomainKey, origin: Origin, samples: Sequence[Checked]) -> pa.Table:
    payloads = [each.sample.payload for each in samples]
    columns = [
        _ids(domain_key, samples),
        [each.key for each in samples],
        [origin.generator] * len(samples),
        [each if isinstance(each, str) else None for each in payloads],
        [each if isinstance(each, bytes) else None for each in payloads],
        [[] for _ in samples],
    ]
    arrays = [pa.array(c, t) for c, t in zip(columns, POOL.types, strict=True)]
    return pa.table(arrays, schema=POOL)


def _origin_row(origin: Origin, each: Checked, copy: str | None) -> dict[str, object]:
    return {
        "gap": origin.gap,
        "generator": origin.generator,
        "version": origin.version,
        "seed": each.sample.seed,
        "exemplars": list(each.sample.exemplars),
        "prompt": each.sample.prompt,
        "label": each.sample.label,
        "copy_ratio": each.copy_ratio,
        "distance": each.distance,
        "agreement": each.agreement,
        "refused": each.refused or copy,
    }
