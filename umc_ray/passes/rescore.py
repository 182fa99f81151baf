"""Passes by which heads score a pool first, and fine-tuned specialists the best of it.

The table of a specialist's outputs has a row for each sample then, too: NaN where there are none.

Suffixes: N samples, C outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from umc_ray.cluster.resources import ANY_NODE, Labels
from umc_ray.cluster.stream import Compute, OnRows, Summary, stream
from umc_ray.json_records import to_json
from umc_ray.passes.encode import EncodeSummary, encoder_pool, payloads_of
from umc_ray.passes.outputs import TunedEncoding
from umc_ray.passes.score import ScoreWorker
from umc_ray.records import IntArray, Part, embeddings_array, embeddings_column
from umc_ray.storage import Storage

HEADS = "heads"
"""rounds/<n>/heads/<part>: the most informative samples of a part by heads alone."""


@dataclass(frozen=True)
class HeadsWorker:
    """Finds the most informative samples of parts by the heads of ensembles alone."""

    scoring: ScoreWorker
    summary_type: ClassVar[type[Summary]] = Summary

    @property
    def storage(self) -> Storage:
        """The run directory."""
        return self.scoring.storage

    def output_key(self, item: Part) -> str:
        """Name the part's candidates."""
        return item.key(f"{self.scoring.table}/{HEADS}")

    def process(self, item: Part) -> tuple[pa.Table, Summary]:
        """Score a part and keep its best samples."""
        return self.scoring.best_by_heads(item), Summary(item.rows)


@dataclass(frozen=True)
class SomeRows:
    """Rows of a part that have no outputs of a fine-tuned specialist yet, and are to have some."""

    part: Part
    specialist: str
    rows: IntArray


@dataclass(frozen=True)
class RescoreWorker:
    """Adds the outputs of some rows to the tables of fine-tuned specialists.

    `outputs` is how many a specialist of a task has. The output of a part is only a sign that it is
    done: tables of outputs are there before.
    """

    storage: Storage
    encodings: Mapping[tuple[str, str], TunedEncoding]
    outputs: Mapping[str, int]
    done: str
    summary_type: ClassVar[type[Summary]] = Summary

    def output_key(self, item: SomeRows) -> str:
        """Name the sign that it is done."""
        return item.part.key(f"{self.done}/{item.specialist}")

    def process(self, item: SomeRows) -> tuple[pa.Table, Summary]:
        """Compute the outputs of the rows, and store them among those that are known."""
        part, task = item.part, item.part.domain_key.task
        encoding = self.encodings[task, item.specialist]
        ids = self.storage.read_table(part.key("pool"), ["sample_id"])["sample_id"]
        outputs_NC = read_outputs(self.storage, part, encoding.table)
        if outputs_NC is None:
            outputs_NC = np.full((len(ids), self.outputs[task]), np.nan, np.float16)
        if len(item.rows):
            found_NC = self._compute(encoding, part, item.rows)
            outputs_NC[item.rows] = found_NC[item.rows] if found_NC.shape[1] else np.nan
        table = pa.table({"sample_id": ids, "embedding": embeddings_column(outputs_NC)})
        summary = to_json(EncodeSummary(len(ids), ()))
        self.storage.write_table(
            part.key(encoding.table), table.replace_schema_metadata({b"summary": summary})
        )
        return pa.table({"sample_id": ids.take(pa.array(item.rows))}), Summary(len(item.rows))

    def _compute(
        self, encoding: TunedEncoding, part: Part, rows: IntArray
    ) -> npt.NDArray[np.float16]:
        """Return outputs NC of a part, NaN but in some rows; no columns if none can be read."""
        column = encoding.load().column
        known = payloads_of(self.storage.read_table(part.key("pool"), [column])[column])
        wanted = set(rows.tolist())
        payloads = [each if row in wanted else None for row, each in enumerate(known)]
        return encoding.encode(self.storage, part, payloads)[0]


def read_outputs(storage: Storage, part: Part, table: str) -> npt.NDArray[np.float16] | None:
    """Read the outputs NC of a part's samples; None if there is no table yet."""
    if not storage.exists(part.key(table)):
        return None
    return embeddings_array(storage.read_table(part.key(table), ["embedding"])["embedding"]).copy()


def find_by_heads(
    scoring: ScoreWorker,
    parts: Sequence[Part],
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> str:
    """Find the most informative samples of each part by heads alone; returns their table."""
    stream(HeadsWorker(scoring), parts, Compute(labels=labels), on_rows)
    return f"{scoring.table}/{HEADS}"


def rows_to_rescore(
    encodings: Mapping[tuple[str, str], TunedEncoding],
    parts: Sequence[Part],
    wanted: Mapping[Part, IntArray],
    storage: Storage,
) -> list[SomeRows]:
    """Return the rows that lack outputs, by part and specialist.

    Args:
        encodings: of fine-tuned specialists, by task and name.
        parts: of their tasks; each of them is to have a table.
        wanted: the rows that are to have outputs; in a part that is not named, all of them.
        storage: the run directory.
    """
    found = []
    for (task, specialist), encoding in encodings.items():
        for part in parts:
            if part.domain_key.task != task:
                continue
            known_NC = read_outputs(storage, part, encoding.table)
            if known_NC is None:
                found.append(SomeRows(part, specialist, wanted.get(part, np.arange(part.rows))))
            elif part in wanted:
                rows = wanted[part]
                lacking = rows[~np.isfinite(known_NC[rows]).all(axis=1)]
                if len(lacking):
                    found.append(SomeRows(part, specialist, lacking))
    return found


def rescore(
    worker: RescoreWorker,
    items: Sequence[SomeRows],
    on_rows: OnRows | None = None,
    labels: Labels = ANY_NODE,
) -> None:
    """Compute the outputs of some rows, on the nodes with the labels."""
    encodings = worker.encodings
    worker.storage.delete(worker.done)  # of a pass that was interrupted: items are what it left
    for gpus in sorted({each.config.num_gpus for each in encodings.values()}):
        own = {key: each for key, each in encodings.items() if each.config.num_gpus == gpus}
        some = [item for item in items if (item.part.domain_key.task, item.specialist) in own]
        if some:
            compute = encoder_pool([each.config for each in own.values()], gpus, labels)
            stream(worker, some, compute, on_rows)
    worker.storage.delete(worker.done)


def rescored_rows(
    encodings: Mapping[tuple[str, str], TunedEncoding], part: Part, storage: Storage
) -> int:
    """Count the samples of a part that have outputs of all fine-tuned specialists of its task."""
    known_N = np.ones(part.rows, np.bool_)
    for (task, _), encoding in encodings.items():
        if task == part.domain_key.task:
            outputs_NC = read_outputs(storage, part, encoding.table)
            known_N &= False if outputs_NC is None else np.isfinite(outputs_NC).all(axis=1)
    return int(known_N.sum())
