"""Ingest: from the sources of a domain to the parts of its pool, in two passes over the cluster.

    sources -> items of work -> [Reader: read, check, hash] -> rows, quarantine, an index
    index (id, content hash, label, size of each row) -> the driver drops duplicates -> a plan
    rows + plan -> [Copier] -> pool/... and oracle/..., in source order

What lies between is in `staging/<split>/<task>/<domain>/<hash of what was asked>`: a run that was
killed goes on, one whose sources changed starts anew. Names and order do not depend on the
cluster. The manifest is written last: it is there when all else is.

Suffixes: N rows of the domain, R rows that are kept.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.config import CampaignConfig, fingerprint
from umc_ray.errors import DataError, StoreError
from umc_ray.methods.identity import UNKNOWN, Duplicates, deduplicate
from umc_ray.pipeline.rows import Rejected, Rules, rules_of
from umc_ray.pipeline.sources import (
    IMAGES,
    TABLES,
    BadRow,
    SourceFile,
    common_folder,
    list_files,
)
from umc_ray.pipeline.staging import (
    PLAN,
    Chunks,
    Copier,
    Reader,
    split_work,
    write_quarantine,
)
from umc_ray.pipeline.stream import Compute, OnRows, Summary, stream
from umc_ray.records import Arm, Part, Split
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)

PART_BYTES = 1 << 28  # a part ends here even if it has few rows, so that it fits in memory

CONTENTS = pa.schema([("content_1", pa.uint64()), ("content_2", pa.uint64())])


@dataclass(frozen=True)
class Manifest:
    """What became of the rows of a domain's pool or test split.

    Of the rows read, each is kept (rows), the duplicate of a kept one, a leak from the test split,
    or bad.
    """

    parts: tuple[Part, ...]
    rows: int
    duplicates: int
    conflicts: int  # kept rows whose duplicates had another label; the first known one counts
    leaks: int  # rows of the pool that are also in the test split: dropped
    bad: int
    reasons: dict[str, int]  # kinds of bad rows
    labeled: int
    sources: dict[str, int]  # files of each source
    fingerprint: str  # of ids and contents, in their order


def ingest(
    config: CampaignConfig,
    arm: Arm,
    split: Split,
    storage: Storage,
    on_rows: OnRows | None = None,
) -> Manifest:
    """Bring a domain's sources into the run directory, once; later calls read the manifest.

    The test split is brought in first, so that the pool can leave out what is in it. The driver
    holds 30 bytes a row and, for a moment, 50 more to sort them: 8 GB for 10^8 rows.

    Raises:
        DataError: a source is missing, empty or has other columns, or too many rows are bad.
    """
    if storage.exists(_manifest_key(arm, split)):
        return load_manifest(storage, arm, split)
    domain, rules = config.domains()[arm], rules_of(config, arm, split)
    asked = domain.source if split == "pool" else domain.test
    if asked is None:
        raise DataError(f"{arm} has no test split")
    hidden = CONTENTS.empty_table()
    if split == "pool" and domain.test is not None:
        ingest(config, arm, "test", storage, on_rows)
        hidden = storage.read_table(_contents_key(arm))
    sources = [asked] if isinstance(asked, str) else asked
    files = list_files(sources, IMAGES if rules.is_image_folder else TABLES)
    reader = _begin(config, rules, storage, files, hidden)
    items = _items(storage, reader)
    summaries = stream(reader, items, Compute(), on_rows)
    manifest = _finish(config, reader, summaries, hidden, files)
    storage.write_json(_manifest_key(arm, split), _document(manifest))
    storage.delete(f"staging/{split}/{arm}")
    logger.info("%s %s: %d rows", arm, split, manifest.rows)
    return manifest


def load_manifest(storage: Storage, arm: Arm, split: Split) -> Manifest:
    """Read what `ingest` found.

    Raises:
        StoreError: it has not finished.
    """
    if not storage.exists(_manifest_key(arm, split)):
        raise StoreError(f"{arm} {split} has not been ingested into {storage.root}")
    document = storage.read_json(_manifest_key(arm, split))
    parts = tuple(Part(split, arm, name, rows) for name, rows in document.pop("parts"))
    return Manifest(parts=parts, **document)


def _document(manifest: Manifest) -> dict[str, Any]:
    return {**asdict(manifest), "parts": [[part.name, part.rows] for part in manifest.parts]}


def _manifest_key(arm: Arm, split: Split) -> str:
    return f"pool/{split}/{arm}/manifest.json"


def _contents_key(arm: Arm) -> str:
    return f"contents/test/{arm}.parquet"


def _begin(
    config: CampaignConfig,
    rules: Rules,
    storage: Storage,
    files: dict[str, list[SourceFile]],
    hidden: pa.Table,
) -> Reader:
    """Store the work to do, unless it is there; what was left of any other work goes first."""
    asked = [asdict(rules), config.ingest.rows_per_part, hidden.num_rows]
    asked += [[asdict(file) for file in found] for found in files.values()]
    within = f"{rules.split}/{rules.arm}"
    staging = f"staging/{within}/{fingerprint(asked)}"
    if not storage.exists(f"{staging}/begun.json"):
        for table in ("staging", "quarantine", "pool", "oracle"):
            storage.delete(f"{table}/{within}")
        everything = [file for found in files.values() for file in found]
        works = split_work(everything, rules.is_image_folder)
        with ThreadPoolExecutor(8) as pool:
            keys = [f"{staging}/work/{item:06d}.json" for item in range(len(works))]
            list(pool.map(storage.write_json, keys, works))
        storage.write_json(f"{staging}/begun.json", {"items": len(works)})
    return Reader(storage, staging, common_folder(files), rules)


def _items(storage: Storage, reader: Reader) -> range:
    return range(storage.read_json(f"{reader.staging}/begun.json")["items"])


def _finish(
    config: CampaignConfig,
    reader: Reader,
    summaries: Sequence[Summary],
    hidden: pa.Table,
    files: dict[str, list[SourceFile]],
) -> Manifest:
    """Decide which rows stay, write them, and sum up."""
    storage, rules = reader.storage, reader.rules
    index = _read_index(reader, len(summaries))
    chunks = Chunks.of(reader, summaries)
    contents_N2 = _words(index)
    found = deduplicate(
        index["sample_id"].to_numpy(), contents_N2, index["label"].to_numpy(), _words(hidden)
    )
    repeated = _quarantine_repeated(rules, chunks, found)
    reasons = Counter({"repeated key": len(repeated)} if repeated else {})
    for summary in summaries:
        reasons.update(summary["reasons"])
    first = [line for summary in summaries for line in summary["first"]] + repeated[:3]
    _check_share(config, rules, summaries, reasons, first, len(found.kept_R))
    parts = _plan(config, reader, chunks, index, found)
    has_answers = bool(rules.label or rules.ratings)
    stream(Copier(storage, reader.staging, rules.labels, has_answers), parts, Compute())
    if rules.split == "test":
        kept = index.select(CONTENTS.names).take(found.kept_R)
        storage.write_table(_contents_key(rules.arm), kept)
    ids_R = index["sample_id"].to_numpy()[found.kept_R]
    return Manifest(
        parts=tuple(parts),
        rows=len(found.kept_R),
        duplicates=int((found.represented_by_N >= 0).sum()) - len(found.kept_R),
        conflicts=found.conflicts,
        leaks=int(found.leaked_N.sum()),
        bad=reasons.total(),
        reasons=dict(reasons.most_common()),
        labeled=int((found.labels_R != UNKNOWN).sum()),
        sources={source: len(listed) for source, listed in files.items()},
        fingerprint=_digest(ids_R, contents_N2[found.kept_R]),
    )


def _read_index(reader: Reader, items: int) -> pa.Table:
    with ThreadPoolExecutor(8) as pool:
        keys = [reader.output_key(item) for item in range(items)]
        tables = list(pool.map(reader.storage.read_table, keys))
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])


def _words(table: pa.Table) -> npt.NDArray[np.uint64]:
    """Return content hashes as N x 2 words."""
    return np.stack([table[name].to_numpy() for name in CONTENTS.names], axis=1)


def _digest(*arrays: npt.NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _quarantine_repeated(rules: Rules, chunks: Chunks, found: Duplicates) -> list[str]:
    """Store rows whose key an earlier row has; returns what there is to say about each."""
    positions = np.flatnonzero(found.repeated_N)
    rows = chunks.take(positions, ["source", "row", "key"]).to_pylist()
    bad = [Rejected(row["source"], row["row"], BadRow("repeated key", row["key"])) for row in rows]
    if bad:
        write_quarantine(chunks.storage, rules, "repeated", bad)
    return [str(row) for row in bad]


def _check_share(
    config: CampaignConfig,
    rules: Rules,
    summaries: Sequence[Summary],
    reasons: Counter[str],
    first: Sequence[str],
    kept: int,
) -> None:
    """Stop if too many rows are bad, or too many items of work held a file that breaks off.

    The rows lost in a file that nobody can read are not known, so such files count by items.
    """
    rows, bad = sum(summary["rows"] for summary in summaries), reasons.total()
    broken = 0 if rules.is_image_folder else reasons["unreadable file"]
    share = max(bad / max(1, rows), broken / len(summaries))
    if kept and share <= config.ingest.max_bad_share:
        return
    told = "; ".join(first[:3]) or "the sources hold no rows"
    where = f"{rules.arm} {rules.split}"
    if not kept:
        raise DataError(f"{where}: no usable row among {rows}: {told}")
    counts = f"{bad} of {rows} rows" + (f" and {broken} files" if broken else "")
    raise DataError(
        f"{where}: {counts} are bad, more than ingest.max_bad_share allows "
        f"({share:.1%} > {config.ingest.max_bad_share:.1%}): {told}; all are in "
        f"quarantine/{rules.split}/{rules.arm}"
    )


def _plan(
    config: CampaignConfig, reader: Reader, chunks: Chunks, index: pa.Table, found: Duplicates
) -> list[Part]:
    """Cut the kept rows into parts and store what each is made of."""
    kept_R = found.kept_R
    ids_R = index["sample_id"].to_numpy()[kept_R]
    sizes_R = index["size"].to_numpy()[kept_R]
    aliases = _aliases(chunks, found)
    parts = list[Part]()
    for start, stop in _cut(sizes_R, config.ingest.rows_per_part):
        part = Part(reader.rules.split, reader.rules.arm, f"part-{len(parts):05d}", stop - start)
        names, rows = chunks.find(kept_R[start:stop])
        columns = [ids_R[start:stop], names, rows, found.labels_R[start:stop]]
        arrays = [pa.array(c, t) for c, t in zip(columns, PLAN.types[:-1], strict=True)]
        table = pa.table([*arrays, aliases.slice(start, stop - start)], PLAN)
        reader.storage.write_table(f"{reader.staging}/plan/{part.name}.parquet", table)
        parts.append(part)
    return parts


def _cut(sizes_R: npt.NDArray[np.int32], rows_per_part: int) -> list[tuple[int, int]]:
    """Cut rows into parts by count and by bytes; a part has at least one row."""
    ends_R = np.cumsum(sizes_R, dtype=np.int64)
    cuts, start = [], 0
    while start < len(sizes_R):
        before = ends_R[start - 1] if start else 0
        full = int(np.searchsorted(ends_R, before + PART_BYTES, side="right"))
        stop = max(start + 1, min(start + rows_per_part, full))
        cuts.append((start, min(stop, len(sizes_R))))
        start = stop
    return cuts


def _aliases(chunks: Chunks, found: Duplicates) -> pa.ListArray:
    """Return, for each kept row, the keys of its duplicates in source order."""
    positions = np.flatnonzero(found.represented_by_N >= 0)
    positions = positions[found.represented_by_N[positions] != positions]
    represented_by = found.represented_by_N[positions]
    keys = chunks.take(positions, ["key"])["key"].combine_chunks()
    order = np.argsort(represented_by, kind="stable")
    ends = np.searchsorted(represented_by[order], found.kept_R, side="right")
    offsets = pa.array(np.append(0, ends), pa.int32())
    return pa.ListArray.from_arrays(offsets, keys.take(pa.array(order)))
