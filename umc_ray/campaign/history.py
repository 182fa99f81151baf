"""The finished rounds of a run, read for a report or a release."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import pyarrow as pa

from umc_ray.campaign.documents import DomainMetrics, Fairness, RoundMetrics
from umc_ray.campaign.frozen import FROZEN, check_frozen
from umc_ray.campaign.state import REMARKED, ROBUSTNESS, RunState, round_folder, round_folders
from umc_ray.campaign.synthetic import ACCEPTANCE, standings_of
from umc_ray.diversity.validation import Acceptance, SyntheticSamples
from umc_ray.errors import StoreError
from umc_ray.ingest.forgotten import forgotten_ids
from umc_ray.records import REMARKS, DomainKey, IntArray
from umc_ray.robustness.shifts import DomainRobustness, Robustness
from umc_ray.selection.labeled import labels_so_far
from umc_ray.selection.near_duplicates import Check, check, effective
from umc_ray.selection.random_orders import audit_prefix, random_orders_key

Document = TypeVar("Document")

ANSWERS = ("label", "votes", "agreement", "tied", "cost")


@dataclass(frozen=True)
class History:
    """What the finished rounds of a run left in its directory; one at least."""

    run: RunState
    rounds: int

    @classmethod
    def of(cls, run: RunState) -> "History":
        """Find the finished rounds.

        Raises:
            StoreError: there are none, or another version of umc_ray wrote them.
            ConfigError: the run directory was begun with another campaign file.
        """
        rounds = run.finished_rounds
        if not rounds:
            raise StoreError(f"no round of {run.storage.root} is finished: nothing to show yet")
        check_frozen(run.storage, run.config)
        run.check_learned(rounds)
        return cls(run, rounds)

    @property
    def folders(self) -> list[str]:
        """The folders of the labels, oldest first: of given ones, then of the rounds."""
        return self.run.folders(self.rounds)

    @cached_property
    def metrics(self) -> list[RoundMetrics]:
        """The metrics of each round, oldest first."""
        return self.run.round_metrics(self.rounds)

    @cached_property
    def fairness(self) -> dict[int, Fairness]:
        """What rounds found out about groups, by round, oldest first."""
        return self.run.fairness(self.rounds)

    @cached_property
    def domains(self) -> dict[DomainKey, DomainMetrics]:
        """The last round's metrics of each domain that was there, in the file's order."""
        known = self.metrics[-1].domains
        return {key: known[str(key)] for key in self.run.config.domains() if str(key) in known}

    @property
    def names(self) -> list[str]:
        """The names of these domains."""
        return [str(domain_key) for domain_key in self.domains]

    def documents(self, name: str, kind: type[Document]) -> list[Document]:
        """Read a document of each round, oldest first."""
        storage = self.run.storage
        folders = round_folders(self.rounds)
        return [storage.read_record(f"{folder}/{name}.json", kind) for folder in folders]

    def features(self, task: str) -> str:
        """Name the table of the features that selection goes by.

        Unlike the run, without reading the encoder's weights.
        """
        encoder = self.run.config.tasks[task].default_encoder
        if self.run.config.tasks[task].default_encoder_config.kind == "table":
            return self.run.selection_features[task]  # it has none, and learned after the start
        frozen = self.run.storage.read_json(FROZEN)
        return f"features/{frozen[f'tasks.{task}.encoders.{encoder}']}"

    @cached_property
    def batches(self) -> pa.Table:
        """All that people were asked or was given, with the columns round and of the answers.

        A sample that nobody could label has nulls there; given labels are of round 0.
        """
        first = self.rounds + 1 - len(self.folders)
        tables = [
            table.append_column("round", pa.array([number] * len(table), pa.int32()))
            for number, folder in enumerate(self.folders, start=first)
            for table in [self.run.storage.read_table(f"{folder}/batch.parquet")]
        ]
        asked = _last_of_each(pa.concat_tables(tables))
        labels = labels_so_far(self.run.storage, self.folders)
        return _with_answers(asked, labels)

    @property
    def given(self) -> int:
        """How many labels came with the sources."""
        return int((self.batches["round"].to_numpy() == 0).sum())

    def asked_of(self, domain_key: DomainKey) -> pa.Table:
        """Return the rows of `batches` that belong to a domain."""
        return of_domains(self.batches, [domain_key])

    @cached_property
    def checks(self) -> dict[str, Check]:
        """By domain, what audits said of the labels that near-duplicates took over."""
        return check(self.run.storage, self.folders)

    @cached_property
    def near_duplicates(self) -> pa.Table:
        """The samples with a label that was taken over and stands; nobody was asked about them."""
        found = effective(self.run.storage, self.folders, self.run.config.near_duplicates)
        asked = np.isin(found["sample_id"].to_numpy(), self.batches["sample_id"].to_numpy())
        return found.filter(pa.array(~asked))

    @cached_property
    def standings(self) -> pa.Table:
        """What has become of each synthetic sample; empty if there are none."""
        return standings_of(self.run, self.rounds)

    @cached_property
    def remarks(self) -> pa.Table:
        """The flags and notes of people on samples that nobody asked to forget."""
        key = f"{round_folder(self.rounds)}/{REMARKED}"
        if not self.run.storage.exists(key):
            return REMARKS.empty_table()
        found = self.run.storage.read_table(key)
        gone = np.isin(found["sample_id"].to_numpy(), forgotten_ids(self.run.storage))
        return found.filter(pa.array(~gone))

    @cached_property
    def acceptance(self) -> tuple[Acceptance, ...]:
        """How synthetic samples fared after the last round, by generator, gap and label."""
        key = f"{round_folder(self.rounds)}/{ACCEPTANCE}"
        if not self.run.storage.exists(key):
            return ()
        return self.run.storage.read_record(key, SyntheticSamples).groups

    @cached_property
    def robustness(self) -> dict[str, DomainRobustness]:
        """How robust the models of the last round are, by domain, where that was measured."""
        key = f"{round_folder(self.rounds)}/{ROBUSTNESS}"
        if not self.run.storage.exists(key):
            return {}
        return self.run.storage.read_record(key, Robustness).domains

    def audit_ids(self, domain_key: DomainKey) -> IntArray:
        """Return the ids of a domain's audit set: a uniform sample of its pool.

        A sample that was chosen before its turn in the audit order came belongs to it too.
        """
        sizes = {int(key.split("/")[1]) for key in self.run.storage.keys("random_orders")}
        # An order's longer heads begin with its shorter ones: the longest stored one will do.
        keys = [random_orders_key(domain_key, size) for size in sorted(sizes, reverse=True)]
        key = next(key for key in keys if self.run.storage.exists(key))
        asked: IntArray = self.asked_of(domain_key)["sample_id"].to_numpy()
        unusable = self.run.unusable().get(str(domain_key), [])
        known = np.concatenate([asked, np.array(unusable, np.int64)])
        prefix = audit_prefix(self.run.storage.read_table(key), known)
        return prefix[np.isin(prefix, asked)]


def _last_of_each(asked: pa.Table) -> pa.Table:
    """Drop the rows of given labels that people were asked to check."""
    _, from_end = np.unique(asked["sample_id"].to_numpy()[::-1], return_index=True)
    return asked.take(pa.array(np.sort(len(asked) - 1 - from_end)))


def of_domains(table: pa.Table, domain_keys: Sequence[DomainKey]) -> pa.Table:
    """Return the rows that belong to some domains."""
    wanted = {(domain_key.task, domain_key.domain) for domain_key in domain_keys}
    pairs = zip(table["task"].to_pylist(), table["domain"].to_pylist(), strict=True)
    return table.filter(pa.array([pair in wanted for pair in pairs], pa.bool_()))


def _with_answers(asked: pa.Table, labels: pa.Table) -> pa.Table:
    """Join by id: an id is that of one sample of one task and domain."""
    ids, wanted = labels["sample_id"].to_numpy(), asked["sample_id"].to_numpy()
    order = np.argsort(ids)
    places = np.searchsorted(ids, wanted, sorter=order)
    rows = pa.array(np.append(order, 0)[places], mask=~np.isin(wanted, ids))
    answers = labels.select(list(ANSWERS)).take(rows)
    for name in ANSWERS:
        asked = asked.append_column(name, answers[name])
    return asked
