"""Check a campaign before it runs: read its data, try its encoders, store nothing.

Everything that would stop it is a problem, and all problems are found at once: what is wrong with
one domain or encoder does not hide the others.
"""

import os
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from umc_ray.campaign.check_findings import listing_notes, split_notes, split_problems
from umc_ray.campaign.check_shifts import ShiftCheck, check_shifts, check_target
from umc_ray.campaign.stages import NULL_LISTENER, ProgressListener
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.encoder import READS, EncoderConfig
from umc_ray.config.task import TaskConfig
from umc_ray.diversity.content import imported
from umc_ray.diversity.generators.files import try_files
from umc_ray.errors import ConfigError, DataError, StoreError
from umc_ray.ingest.changes import shared_files
from umc_ray.ingest.inspection import Contents, Inspection, inspect
from umc_ray.ingest.layouts.registry import list_split, with_layouts
from umc_ray.ingest.sampling import Limits, everything, some
from umc_ray.ingest.sources import Listing, SourceFile, common_folder
from umc_ray.ingest.stage import Reader
from umc_ray.ingest.tally import SPECIMENS, Specimen
from umc_ray.ingest.validate import Rules, rules_of
from umc_ray.passes.encoder_trial import EncoderTrial, try_encoder
from umc_ray.records import DomainKey, Split
from umc_ray.specialists.fine_tuned import try_tuning
from umc_ray.storage import Storage

ALL_TEXTS = Limits(read=2_000_000, checked=200_000, bytes_read=1 << 30)
ALL_IMAGES = Limits(read=1_000_000, checked=600, bytes_read=1 << 30)
"""What a sample may take of all splits together: about 30 seconds."""

OF_GENERATOR = Limits(read=100_000, checked=2_000, bytes_read=1 << 30)
"""What a sample may take of the files of a generator."""

ONE_MODEL = "one model, so nothing disagrees with it; a second encoder, or domain, gives another"

NO_ANSWERS = (
    "a replay knows nothing of what is made, so all of it is rejected; let people answer, or use a "
    "generator of kind files with answer: the column with what a person would say"
)

SIMILARITY = 0.98
"""Cosine of near-duplicates, unless the campaign names one."""


@dataclass(frozen=True)
class SplitCheck:
    """What is in a domain's pool or test split."""

    domain_key: DomainKey
    split: Split
    files: int
    inspection: Inspection
    layouts: tuple[str, ...] = ()  # what the sources were recognized as


@dataclass(frozen=True)
class EncoderCheck:
    """What an encoder did with a sample of its task, and how much there is to encode."""

    task: str
    name: str
    trial: EncoderTrial
    rows: int


@dataclass(frozen=True)
class CampaignCheck:
    """All that was found."""

    splits: tuple[SplitCheck, ...]
    encoders: tuple[EncoderCheck, ...]
    problems: tuple[str, ...]  # these stop the campaign
    notes: tuple[str, ...]
    shifts: tuple[ShiftCheck, ...] = ()


@dataclass
class _Findings:
    problems: dict[str, None] = field(default_factory=dict)  # in order, each once
    notes: dict[str, None] = field(default_factory=dict)
    files: dict[DomainKey, list[str]] = field(default_factory=dict)  # of pools

    def problem(self, where: object, what: object) -> None:
        self.problems[f"{where}: {what}"] = None

    def note(self, where: object, what: object) -> None:
        self.notes[f"{where}: {what}"] = None


@dataclass(frozen=True)
class _Checker:
    config: CampaignConfig
    storage: Storage
    reads_all: bool
    listener: ProgressListener
    findings: _Findings

    @property
    def splits(self) -> int:
        """How many pools, test splits and target sets share the limits of a sample."""
        return sum(len(each.splits) for each in self.config.domains().values())

    def task(self, name: str) -> Iterator[SplitCheck]:
        """Check the test splits of a task, then its pools against them, and target sets."""
        keys = {key: domain for key, domain in self.config.domains().items() if key.task == name}
        tests = {
            key: self.split(key, "test", Contents.nothing())
            for key, domain in keys.items()
            if domain.test is not None
        }
        found = [test.inspection.contents for test in tests.values() if test is not None]
        contents = Contents.joined(found)
        for key in keys:
            pool = self.split(key, "pool", contents)
            target = self.split(key, "target", Contents.nothing())
            if target is not None and pool is not None:
                both = target.inspection.contents, pool.inspection.contents
                check_target(key, *both, self.findings.note)
            yield from (each for each in (pool, tests.get(key), target) if each is not None)

    def split(self, domain_key: DomainKey, split: Split, test: Contents) -> SplitCheck | None:
        """Check a split; None if there is nothing to read."""
        where = f"{domain_key} {split}"
        try:
            rules = rules_of(self.config, domain_key, split)
            rules = self._with_layouts(rules)
        except (ConfigError, DataError) as error:
            self.findings.problem(where, str(error).removeprefix(f"{domain_key}: "))
            return None
        listing = self._list(rules, where)
        files = listing.all
        if not files:
            return None
        if split == "pool":
            self.findings.files[domain_key] = [file.uri for file in files]
        before = len(self.findings.problems)
        inspection = self._inspect(rules, listing, files, test, where)
        if inspection.checked or len(self.findings.problems) == before:  # else it is said why
            for problem in split_problems(inspection, self.config.ingest.max_bad_share):
                self.findings.problem(where, problem)
        for note in (*split_notes(inspection, rules), *listing_notes(listing, rules)):
            self.findings.note(where, note)
        layouts = tuple(layout.about for layout in rules.layouts)
        return SplitCheck(domain_key, split, len(files), inspection, layouts)

    def _with_layouts(self, rules: Rules) -> Rules:
        """Look at the sources that are there; listing them says which are not."""
        sources = self.config.domains()[rules.domain_key].sources(rules.split)
        return with_layouts(rules, sources)

    def _list(self, rules: Rules, where: str) -> Listing:
        """List each source by itself; one that is missing does not hide the others."""
        domain = self.config.domains()[rules.domain_key]
        found, seen = Listing({}, Counter()), set[str]()
        for source in domain.sources(rules.split):
            try:
                listing = list_split(rules, [source], self.storage.root)
            except DataError as error:
                self.findings.problem(where, error)
                continue
            for path, listed in listing.files.items():
                found.files[path] = [file for file in listed if file.uri not in seen]
                seen.update(file.uri for file in listed)
            found.notes.update(listing.notes)
        return found

    def _inspect(
        self,
        rules: Rules,
        listing: Listing,
        files: Sequence[SourceFile],
        test: Contents,
        where: str,
    ) -> Inspection:
        total = ALL_TEXTS if rules.image is None else ALL_IMAGES
        limits = total.divided(self.splits)
        sampling = (
            everything(files, rules.are_images)
            if self.reads_all
            else some(files, rules.are_images, limits)
        )
        reader = Reader(self.storage, "", common_folder(listing.files), rules)
        began = time.monotonic()
        on_rows = self.listener.begin(f"check {where}", sampling.read)
        found = inspect(
            reader, sampling, test, on_rows, lambda problem: self.findings.problem(where, problem)
        )
        self.listener.end(f"check {where}", time.monotonic() - began)
        return found

    def generators(self) -> None:
        """Read the files of generators that have some, as a run will."""
        unsafe, limits = self.config.refine.unsafe, None if self.reads_all else OF_GENERATOR
        if unsafe is not None:
            try:
                imported(unsafe)
            except ConfigError as error:
                self.findings.problem("refine.unsafe", str(error).removeprefix("refine.unsafe: "))
        for name, generator in self.config.refine.generators.items():
            where = f"refine.generators.{name}"
            if self.config.annotation.traits.knows_answers and generator.answer is None:
                self.findings.note(where, NO_ANSWERS)
            try:
                if generator.kind == "files":
                    note = try_files(self.config, name, self.storage, limits)
                    if note is not None:
                        self.findings.note(where, note.removeprefix(f"{where}: "))
            except (ConfigError, DataError) as error:
                self.findings.problem(where, str(error).removeprefix(f"{where}: "))

    def encoders(self, splits: Sequence[SplitCheck]) -> Iterator[EncoderCheck]:
        """Try all encoders; without samples, only whether they load."""
        for task, config in self.config.tasks.items():
            mine = [each for each in splits if each.domain_key.task == task]
            specimens = [each for split in mine for each in split.inspection.specimens]
            rows = round(sum(each.inspection.usable * each.inspection.scale for each in mine))
            for name, encoder in config.named_encoders.items():
                trial = self._try(f"encoder {task}/{name}", encoder, _spread(specimens))
                if trial is not None:
                    yield EncoderCheck(task, name, trial, rows)
                    self._try_tuning(task, config, name, specimens)

    def _try(
        self, where: str, config: EncoderConfig, specimens: Sequence[Specimen]
    ) -> EncoderTrial | None:
        similarity = self.config.near_duplicates.similarity or SIMILARITY
        payloads = [each.payload(READS[config.kind]) for each in specimens]
        try:
            trial = try_encoder(config, payloads, similarity)
        except ConfigError as error:
            self.findings.problem(where, error)
            return None
        except Exception as error:  # whatever a library makes of weights that do not fit
            self.findings.problem(where, f"cannot be used: {type(error).__name__}: {error}")
            return None
        if len(trial.rejected) == trial.samples > 0:
            self.findings.problem(where, f"no sample can be encoded: {trial.rejected[0]}")
        for row, why in list(trial.rejected.items())[:1]:
            share = f"{len(trial.rejected)} of {trial.samples} samples"
            self.findings.note(where, f"{share} cannot be encoded: {specimens[row].key}: {why}")
        if trial.lacks_gpu:
            self.findings.note(where, "asks for a GPU; there is none here, so a CPU was measured")
        return trial

    def _try_tuning(
        self, task: str, config: TaskConfig, encoder: str, specimens: Sequence[Specimen]
    ) -> None:
        """Check whether the specialists that train the encoder's network can do so."""
        settings = config.named_encoders[encoder].model_copy(update={"num_gpus": 0.0})
        for name, specialist in config.ensemble().items():
            if specialist.fine_tunes and specialist.encoders[0] == encoder and specimens:
                try:
                    payload = specimens[0].payload(READS[settings.kind])
                    try_tuning(specialist, settings, payload, config.learned_from)
                except ConfigError as error:
                    self.findings.problem(f"specialist {task}/{name}", error)

    def campaign(self, splits: Sequence[SplitCheck]) -> None:
        """Check what concerns all domains."""
        try:
            _try_to_write(self.storage)
        except StoreError as error:
            self.findings.problem("storage", error)
        for line in shared_files(self.config.domains(), self.findings.files):
            self.findings.note("sources", line)
        guidelines = self.config.annotation.guidelines
        if guidelines is not None and not os.path.isfile(guidelines):
            self.findings.problem("annotation.guidelines", f"{guidelines} does not exist")
        for name, task in self.config.tasks.items():
            if len(task.ensemble()) == 1:
                self.findings.note(f"task {name}", ONE_MODEL)
        pools = [each.inspection for each in splits if each.split == "pool"]
        samples = round(sum(self._open(each) for each in splits if each.split == "pool"))
        if pools and samples < self.config.budget.labels:
            asked = f"{self.config.budget.labels:,} labels, people can be asked about {samples:,}"
            self.findings.note("budget", f"{asked} samples: the campaign ends when none is left")

    def _open(self, split: SplitCheck) -> float:
        """Estimate how many samples of a pool are to be answered, and can be."""
        found = split.inspection
        labeled = sum(found.labels.values())
        if not self.config.annotation.traits.knows_answers:
            return (found.usable - labeled) * found.scale
        has_ratings = self.config.domains()[split.domain_key].ratings is not None
        return (found.usable if has_ratings else labeled) * found.scale


def check_campaign(
    config: CampaignConfig, reads_all: bool, listener: ProgressListener = NULL_LISTENER
) -> CampaignCheck:
    """Check all domains and encoders of a campaign, on a sample of the rows or on all."""
    storage = Storage(config.run_root)
    findings = _Findings()
    checker = _Checker(config, storage, reads_all, listener, findings)
    splits = [split for name in config.tasks for split in checker.task(name)]
    checker.generators()
    told = findings.problem, findings.note
    shifts = tuple(check_shifts(config, storage, partial(_pools_of, splits), *told))
    encoders = tuple(checker.encoders(splits))
    checker.campaign(splits)
    problems, notes = tuple(findings.problems), tuple(findings.notes)
    return CampaignCheck(tuple(splits), encoders, problems, notes, shifts)


def specimens_by_domain(check: CampaignCheck) -> Mapping[DomainKey, Sequence[Specimen]]:
    """Return the samples of each domain's pool that were kept to be shown."""
    pools = [each for each in check.splits if each.split == "pool"]
    return {each.domain_key: each.inspection.specimens for each in pools}


def _pools_of(splits: Sequence[SplitCheck], task: str) -> Contents:
    """Return what the pools of a task have."""
    pools = [each for each in splits if each.split == "pool" and each.domain_key.task == task]
    return Contents.joined(each.inspection.contents for each in pools)


def _spread(specimens: Sequence[Specimen]) -> list[Specimen]:
    """Return samples of all domains, mixed and not too many."""
    return sorted(specimens, key=lambda each: zlib.crc32(each.key.encode()))[:SPECIMENS]


def _try_to_write(storage: Storage) -> None:
    """Write a file where the run directory will be, or the folders to it, and delete it.

    Raises:
        StoreError: it cannot be written.
    """
    if storage.is_local:
        folder = Path(storage.root)
        there = next(each for each in (folder, *folder.parents) if each.exists())
        storage = Storage(str(there))
    probe = f"umc-check-{uuid.uuid4().hex}"
    storage.write_bytes(f"{probe}/empty", b"")
    storage.delete(probe)
