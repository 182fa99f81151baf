"""The tables of a release: what it says of each sample of a task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from umc_ray.campaign.given import GIVEN_ANSWERS
from umc_ray.campaign.history import ANSWERS, History, of_domains
from umc_ray.config.task import TaskConfig
from umc_ray.diversity.synthetic import table_key
from umc_ray.errors import StoreError
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.ingest.kept_columns import common_schema, in_schema
from umc_ray.ingest.manifest import load_manifest
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import SYNTHETIC, DomainKey, Part
from umc_ray.release.dataset import Column, Kind, columns, payload, schema_of
from umc_ray.release.splits import split_of
from umc_ray.selection.gather import gather

Columns = Mapping[str, Any]

HELD_OUT = "held out: its label came with its source"


@dataclass(frozen=True)
class TaskTables:
    """Reads the samples of a task, with all columns of a release."""

    history: History
    name: str

    @property
    def task(self) -> TaskConfig:
        """The configuration of the task."""
        return self.history.run.config.tasks[self.name]

    def columns(self, kind: Kind) -> tuple[Column, ...]:
        """Return the columns of a kind of table."""
        is_replayed = self.history.run.config.annotation.traits.knows_answers
        return columns(self.task, kind, is_replayed, self._kept)

    def labeled(self, domain_key: DomainKey) -> pa.Table:
        """Return a domain's labeled samples, in pool order."""
        labeled, audits = labeled_of(self.history, domain_key), self.history.audit_ids(domain_key)
        is_audit = pa.array(np.isin(labeled["sample_id"].to_numpy(), audits), pa.bool_())
        labeled = labeled.set_column(labeled.column_names.index("audit"), "audit", is_audit)
        parts = _by_part(self.history.run.pool(domain_key), labeled)
        return self._table("data", (self._labeled(part, picks) for part, picks in parts))

    def near_duplicates(self, domain_key: DomainKey) -> pa.Table:
        """Return the near-duplicates of a domain's labeled samples."""
        near = of_domains(self.history.near_duplicates, [domain_key])
        parts = _by_part(self.history.run.pool(domain_key), near)
        return self._table("near_duplicates", (self._near(part, picks) for part, picks in parts))

    def synthetic(self, domain_key: DomainKey) -> pa.Table:
        """Return a domain's synthetic samples that stand, but none made from a forgotten sample."""
        history = self.history
        standing = of_domains(history.standings, [domain_key])
        gone = set(forgotten_ids(history.run.storage).tolist())
        keep = [
            row["label"] is not None and gone.isdisjoint(row["exemplars"])
            for row in standing.select(["label", "exemplars"]).to_pylist()
        ]
        picks = standing.filter(pa.array(keep, pa.bool_()))
        parts = [part for part in history.run.synthetic if part.domain_key == domain_key]
        return self._table("synthetic", (self._made(*each) for each in _by_part(parts, picks)))

    def _made(self, part: Part, picks: pa.Table) -> Columns:
        """Return all columns of synthetic samples of a part, with what made them."""
        storage, shares = self.history.run.storage, self.history.run.config.release.shares
        rows = pa.array(picks["row"].to_numpy())
        origins, pool = (
            storage.read_table(k).take(rows) for k in (table_key(part), part.key("pool"))
        )
        splits = [
            sorted({split_of(exemplar, shares) for exemplar in exemplars})
            for exemplars in origins["exemplars"].to_pylist()
        ]
        return {
            **{name: origins[name] for name in SYNTHETIC.names},
            **self._samples(pool),
            "key": pool["key"],
            **{
                name: picks[name]
                for name in ("standing", "made_for", "round", "votes", "agreement", "quality")
            },
            "label": self._values(picks["label"].to_pylist()),
            "domain": pa.array([part.domain_key.domain] * len(picks)),
            "model_agreement": origins["agreement"],
            "exemplar_splits": pa.array(splits, pa.list_(pa.string())),
        }

    def held_out(self, domain_key: DomainKey) -> pa.Table:
        """Return a domain's labeled test data."""
        tests = [part for part in self.history.run.parts if part.split == "test"]
        parts = [part for part in tests if part.domain_key == domain_key]
        return self._table("data", (self._held_out(part) for part in parts))

    @cached_property
    def _kept(self) -> pa.Schema:
        """The columns that the task's domains keep, in types that hold all their values."""
        domains = self.history.run.config.domains()
        parts = [part for part in self.history.run.parts if domains[part.domain_key].keep]
        schemas = [self._kept_schema(part) for part in parts if part.domain_key.task == self.name]
        fields = common_schema(schemas)
        return pa.schema([(f.name, pa.string() if f.type == pa.null() else f.type) for f in fields])

    def _kept_schema(self, part: Part) -> pa.Schema:
        storage, key = self.history.run.storage, part.key("kept")
        if not storage.exists(key):
            raise StoreError(
                f"{part.domain_key} keeps columns, but its {part.split} was read without them: "
                "remove keep, or give the domain another name and run again"
            )
        keep, stored = self.task.domains[part.domain_key.domain].keep, storage.read_schema(key)
        return pa.schema([field for field in stored if field.name in keep])  # no groups

    def _table(self, kind: Kind, parts: Iterator[Columns]) -> pa.Table:
        schema = schema_of(self.columns(kind))
        tables = [pa.table([part[name] for name in schema.names], schema) for part in parts]
        return pa.concat_tables([schema.empty_table(), *tables])

    def _labeled(self, part: Part, picks: pa.Table) -> Columns:
        """Return all columns of labeled samples of a part, with the last round's predictions."""
        kind, scored = self.task.task_kind(), f"{self.history.folders[-1]}/scores"
        scores = gather(self.history.run.storage, [part], scored, picks)
        predicted, certainty = kind.predicted(scores)
        return {
            **{name: picks[name] for name in ("sample_id", "round", "audit", "why", *ANSWERS)},
            **self._origin(part, picks),
            **{name: scores[name] for name in kind.measures_about},
            "label": self._values(picks["label"].to_pylist()),
            "predicted": self._values(predicted),
            "probability": pa.array(certainty, pa.float32()),
        }

    def _near(self, part: Part, picks: pa.Table) -> Columns:
        return {
            **{name: picks[name] for name in ("sample_id", "label_of", "similarity")},
            **self._origin(part, picks),
            "label": self._values(picks["label"].to_pylist()),
            "origin": pa.array(["near_duplicate"] * len(picks)),
        }

    def _held_out(self, part: Part) -> Columns:
        """Return all columns of a part's test data; nobody was asked about it."""
        known = self.history.run.storage.read_table(part.key("oracle"))
        is_read = ~np.isin(known["sample_id"].to_numpy(), self._unusable(part))
        rows = np.flatnonzero(is_read & known["label"].is_valid().to_numpy())
        labels = known.take(pa.array(rows))
        same = {**GIVEN_ANSWERS, "audit": False, "why": HELD_OUT}
        answers = {name: pa.array([value] * len(rows)) for name, value in same.items()}
        places = {"part": [part.name] * len(rows), "row": pa.array(rows, pa.int32())}
        picks = {name: labels[name] for name in ("sample_id", "label")}
        return self._labeled(part, pa.table({**picks, **answers, **places}))

    def _unusable(self, part: Part) -> list[int]:
        """Return the ids of samples that no encoder could read, so that nothing is predicted."""
        return self.history.run.unusable().get(str(part.domain_key), [])

    def _origin(self, part: Part, picks: pa.Table) -> Columns:
        """Return the payloads, keys, sources, domains and kept columns of samples of a part."""
        names = [self.task.payload, "key", "source"]
        pool = gather(self.history.run.storage, [part], "pool", picks, names)
        roots = load_manifest(self.history.run.storage, part.domain_key, part.split).roots
        sources = [_below(each, roots) for each in pool["source"].to_pylist()]
        return {
            **self._samples(pool),
            "key": pool["key"],
            "source": pa.array(sources, pa.string()),
            "domain": pa.array([part.domain_key.domain] * len(picks)),
            **self._passed(part, picks),
        }

    def _samples(self, pool: pa.Table) -> Columns:
        """Return the column of the samples themselves, or the two of pairs."""
        samples = pool[self.task.payload]
        names = [column.name for column in payload(self.task)]
        if len(names) == 1:
            return {names[0]: samples}
        split = [parts_of(text) for text in samples.to_pylist()]
        return {
            name: pa.array([parts[place] for parts in split], pa.string())
            for place, name in enumerate(names)
        }

    def _passed(self, part: Part, picks: pa.Table) -> Columns:
        """Return the kept columns; those of other domains are empty."""
        keeps = self.history.run.config.domains()[part.domain_key].keep
        empty = pa.table({"": pa.nulls(len(picks))})
        kept = gather(self.history.run.storage, [part], "kept", picks) if keeps else empty
        table = in_schema(kept, self._kept)
        return {name: table[name] for name in table.column_names}

    def _values(self, texts: Sequence[str]) -> pa.Array:
        """Return targets as the release holds them."""
        kind = self.task.task_kind()
        return pa.array([kind.value(text) for text in texts], kind.target_type)


def labeled_of(history: History, domain_key: DomainKey) -> pa.Table:
    """Return the labeled samples of a domain, with their answers."""
    queried = history.asked_of(domain_key)
    return queried.filter(queried["label"].is_valid())


def _by_part(parts: Sequence[Part], picks: pa.Table) -> Iterator[tuple[Part, pa.Table]]:
    """Split samples of a domain by part, in pool order."""
    names = np.array(picks["part"].to_pylist(), dtype=np.str_)
    rows = picks["row"].to_numpy()
    for part in parts:
        in_part = np.flatnonzero(names == part.name)
        if len(in_part):
            yield part, picks.take(pa.array(in_part[np.argsort(rows[in_part])]))


def _below(source: str, roots: Sequence[str]) -> str:
    """Name a source by its place in the folder that it was read from, wherever that is now."""
    inside = [root for root in roots if source.startswith(f"{root.rstrip('/')}/")]
    root = max(inside, key=len, default=source.rpartition("/")[0])
    return source.removeprefix(root).lstrip("/")
