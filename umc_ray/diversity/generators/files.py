"""Synthetic samples that were made elsewhere: files with a label each, read as sources are.

Rows that cannot be used go to the quarantine. A file that is new or has changed is read at the next
start; what was read before stays as it was.

    synthetic/<task>/<domain>/<generator>.json   the files that were read
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.content import content_checks, first_reason
from umc_ray.diversity.generators.generator import Generated
from umc_ray.diversity.synthetic import TABLE, Checked, Origin, write_part
from umc_ray.errors import ConfigError, DataError
from umc_ray.ingest.sampling import Limits, everything, some
from umc_ray.ingest.sources import BadRow, SourceFile, common_folder, list_files
from umc_ray.ingest.stage import Reader, WorkItem, each_checked, split_work, write_quarantine
from umc_ray.ingest.validate import FOLDER, Rejected, Row, Rules, check, rules_of
from umc_ray.methods.identity import fingerprint
from umc_ray.records import DomainKey
from umc_ray.storage import Storage

logger = logging.getLogger(__name__)


def read_files(config: CampaignConfig, storage: Storage) -> int:
    """Bring in what the generators of kind files have; returns how many samples are new.

    Raises:
        ConfigError: the files cannot have what their domain needs.
        DataError: they are missing, lack a column, or have too many bad rows.
    """
    files = {name: each for name, each in config.refine.generators.items() if each.kind == "files"}
    return sum(_Files.of(config, name, each, storage).read() for name, each in files.items())


def try_files(
    config: CampaignConfig, name: str, storage: Storage, limits: Limits | None
) -> str | None:
    """Read what a generator of kind files has, within limits, as `read_files` does.

    Returns what to know of rows that cannot be used; None: there are none.

    Raises:
        ConfigError: the files cannot have what their domain needs.
        DataError: they are missing, lack a column, or have too many bad rows.
    """
    return _Files.of(config, name, config.refine.generators[name], storage).try_reading(limits)


@dataclass(frozen=True)
class _Files:
    """The files of one generator."""

    config: CampaignConfig
    name: str
    generator: GeneratorConfig
    domain_key: DomainKey
    storage: Storage
    rules: Rules

    @classmethod
    def of(
        cls, config: CampaignConfig, name: str, generator: GeneratorConfig, storage: Storage
    ) -> "_Files":
        """Find out how a generator's files are read: as those of their domain."""
        (first, *_) = config.domains()
        domain_key = DomainKey.named(generator.domain) if generator.domain else first
        domain = config.domain(domain_key)
        if domain.embedding is not None:
            raise ConfigError(
                f"refine.generators.{name}: the samples of {domain_key} come with embeddings, "
                "which no generator makes; give its task an encoder of another kind"
            )
        alike = config.reduced_to(domain_key, _as_domain(domain, generator, config, domain_key))
        rules = rules_of(alike, domain_key, "synthetic")
        return cls(config, name, generator, domain_key, storage, rules)

    @property
    def path(self) -> str:
        assert self.generator.path is not None  # the configuration was checked
        return self.generator.path

    @property
    def known_key(self) -> str:
        return f"{TABLE}/{self.domain_key}/{self.name}.json"

    def try_reading(self, limits: Limits | None) -> str | None:
        """Read some rows, or all, and store nothing; returns what to know of the bad ones.

        Raises:
            DataError: the files are missing, lack a column, or have too many bad rows.
        """
        listing = list_files([self.path], self.rules.suffixes, exclude=self.storage.root).all
        are_images = self.rules.are_images
        sampling = (
            everything(listing, are_images) if limits is None else some(listing, are_images, limits)
        )
        usable, bad = 0, list[Rejected]()
        for portion in sampling.portions:
            rows, rejected = self._rows(portion.work, portion.rows, sampling.step)
            usable, bad = usable + len(rows), bad + rejected
        return self._problem(usable, bad) if bad else None

    def read(self) -> int:
        """Read the files that are new or have changed, piece by piece."""
        listing = list_files([self.path], self.rules.suffixes, exclude=self.storage.root).all
        is_known = self.storage.exists(self.known_key)
        known = self.storage.read_json(self.known_key) if is_known else {}
        files = [each for each in listing if known.get(each.uri) != _state(each)]
        by_uri = {each.uri: each for each in files}
        works = split_work([each.uri for each in files], self.rules.are_images)
        new = sum(self._read_piece(work, [by_uri[uri] for uri in work.files]) for work in works)
        if files:
            self.storage.write_json(self.known_key, {e.uri: _state(e) for e in listing})
        return new

    def _read_piece(self, work: WorkItem, files: Sequence[SourceFile]) -> int:
        """Store a piece of the files as a part; returns how many samples are new."""
        state = fingerprint([[e.uri, *_state(e)] for e in files] + [work.groups])
        part = f"{self.name}-{state}"
        rows, bad = self._rows(work)
        if bad:
            folder = f"quarantine/synthetic/{self.domain_key}"
            write_quarantine(self.storage, f"{folder}/{part}.parquet", bad)
            logger.warning(self._problem(len(rows), bad, f"; see all of them in {folder}"))
        written = write_part(
            self.storage,
            self.domain_key,
            part,
            Origin(self.name, state),
            [self._sample(row) for row in rows],
            [key for key in self.config.domains() if key.task == self.domain_key.task],
            has_answers=self.generator.answer is not None,
        )
        return 0 if written is None else written.rows

    def _rows(
        self, work: WorkItem, most: int | None = None, step: int = 1
    ) -> tuple[list[Row], list[Rejected]]:
        """Return the usable rows and the bad ones: of the first ones one in `step`."""
        reader = Reader(self.storage, "", common_folder([self.path]), self.rules)
        found = islice(reader.find(work, Counter()), 0, most, step)
        rules = self.rules
        checked = list(each_checked(rules, lambda row: check(rules, row), found))
        bad = [each for each in checked if isinstance(each, Rejected)]
        rows = []
        for each in (each for each in checked if isinstance(each, Row)):
            try:
                self._answer(each)
            except DataError as error:
                reason = BadRow("unknown answer", f"{self.generator.answer}: {error}")
                bad.append(Rejected(each.source, each.row, reason))
            else:
                rows.append(each)
        return rows, bad

    def _problem(self, usable: int, bad: Sequence[Rejected], where: str = "") -> str:
        """Say which rows cannot be used.

        Raises:
            DataError: there are too many of them.
        """
        said = (
            f"refine.generators.{self.name}: {len(bad)} of {len(bad) + usable} rows of {self.path} "
            f"cannot be used, such as {bad[0]}{where}"
        )
        if len(bad) > self.config.ingest.max_bad_share * (len(bad) + usable):
            raise DataError(f"{said}. ingest.max_bad_share allows fewer")
        return said

    def _sample(self, row: Row) -> Checked:
        payload = row.text if row.image is None else row.image
        assert payload is not None and row.label is not None  # the rules require both
        sample = Generated(payload, row.label, exemplars=(), prompt="", seed=0)
        checks = content_checks(self.generator.filters, self.config.refine.unsafe)
        refused, answer = first_reason(checks, payload), self._answer(row)
        return Checked(f"{self.name}/{row.key}", sample, refused=refused, answer=answer)

    def _answer(self, row: Row) -> str | None:
        """Return what a replayed person says; None: that no label fits."""
        if self.generator.answer is None or row.kept[0] in (None, ""):
            return None
        return self.rules.kind.parse(row.kept[0])


def _as_domain(
    domain: DomainConfig, generator: GeneratorConfig, config: CampaignConfig, key: DomainKey
) -> DomainConfig:
    """Return the domain that files are read as: its own with other columns for the answers."""
    are_images = config.tasks[key.task].payload == "image" and domain.image is None
    default = FOLDER if are_images else domain.label or "label"
    changes: Mapping[str, object] = {
        "source": generator.path,
        "label": generator.label or default,
        "ratings": None,
        "key": None,
        "test": None,
        "shifted": {},
        "target": None,
        "groups": [],  # of real samples; models learn nothing of them
        "keep": [] if generator.answer is None else [generator.answer],
    }
    return domain.model_copy(update=changes)


def _state(file: SourceFile) -> list[int]:
    return [file.size, file.mtime_ns]
