"""Measure an ensemble where samples differ from those that it learned from: shifts, corruptions.

Suffixes: N samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import ray

from umc_ray.config.campaign import CampaignConfig
from umc_ray.encoders.encoder import Half
from umc_ray.encoders.precision import with_precision
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import DataError, UmcError
from umc_ray.ingest.manifest import is_ingested, load_manifest, read_index
from umc_ray.ingest.parts import content_words
from umc_ray.ingest.some_rows import SomeRows, some_rows
from umc_ray.methods.intervals import mean_interval
from umc_ray.methods.robustness import robustness_score
from umc_ray.passes.encode import encode_rows
from umc_ray.passes.outputs import output_encodings
from umc_ray.passes.score import score_table
from umc_ray.records import DomainKey, FloatArray, Part
from umc_ray.robustness.corruptions import IMAGES, TEXTS, corrupted
from umc_ray.selection.gather import gather
from umc_ray.selection.reference import sample_pool
from umc_ray.specialists.ensemble import Ensemble, EnsembleRef, load_ensemble
from umc_ray.specialists.specialist import outputs_of
from umc_ray.storage import Storage
from umc_ray.tasks.quality import Estimate
from umc_ray.tasks.task import TaskKind

MOST_PARTS = 50
"""Parts of a test split that samples are drawn from."""


@dataclass(frozen=True)
class ShiftQuality:
    """The utility on n samples of a shift, or of a corruption of the test samples."""

    name: str
    n: int
    utility: Estimate
    in_pool: int = 0  # more samples, that are in a pool of the task, too, and so left out
    bad: int = 0  # rows that cannot be used

    @property
    def left_out(self) -> str:
        """Say what was left out, if anything was."""
        said = {"also in a pool": self.in_pool, "bad rows": self.bad}
        return ", ".join(f"{n} {why}" for why, n in said.items() if n)


@dataclass(frozen=True)
class DomainRobustness:
    """What models are worth on a domain's test samples, on its shifts, and on corruptions.

    `score` is the mean utility on shifts and corruptions by the clean one; None if that is 0.
    """

    clean: ShiftQuality
    shifts: list[ShiftQuality] = field(default_factory=list)
    corruptions: list[ShiftQuality] = field(default_factory=list)
    score: Estimate | None = None


@dataclass(frozen=True)
class Robustness:
    """robustness.json: how robust the models of a campaign's last round are, by domain.

    `measured` names what was measured: other shifts or corruptions are measured anew.
    """

    domains: dict[str, DomainRobustness]
    measured: str = ""


@dataclass(frozen=True)
class ShiftSpec:
    """What is needed to measure one domain."""

    config: CampaignConfig
    domain_key: DomainKey
    kind: TaskKind
    ensemble: EnsembleRef
    tests: tuple[Part, ...]
    features: str  # table of embeddings, which says what can be read

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The names of the corruptions to try; rows of tables have none."""
        domain = self.config.domain(self.domain_key)
        if not self.config.robustness.corruptions or domain.columns or domain.embedding:
            return ()
        payload = self.config.tasks[self.domain_key.task].payload
        return tuple(TEXTS if payload == "text" else IMAGES)


def measure_all(specs: Sequence[ShiftSpec], storage: Storage) -> Robustness:
    """Measure all domains, in parallel.

    Raises:
        DataError: the source of a shift cannot be read.
    """
    measured = [
        ray.remote(measure).options(num_gpus=_gpus(spec)).remote(spec, storage) for spec in specs
    ]
    try:
        found: list[DomainRobustness] = ray.get(measured)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UmcError):
            raise error.cause from None
        raise
    return Robustness({str(s.domain_key): each for s, each in zip(specs, found, strict=True)})


def _gpus(spec: ShiftSpec) -> float:
    encoders = spec.config.tasks[spec.domain_key.task].named_encoders
    return max(each.num_gpus for each in encoders.values())


def measure(spec: ShiftSpec, storage: Storage) -> DomainRobustness:
    """Measure a domain: its test samples, then its shifts, then corruptions of the former.

    Samples of a shift that are in a pool of the task are left out: models may have learned them.

    Raises:
        DataError: the source of a shift cannot be read.
    """
    most = spec.config.robustness.samples
    payloads, targets = _test_samples(spec, storage, most)
    predict = _Predictor.of(spec, storage)
    clean_N = predict.utility(payloads, targets)
    by_shift: dict[str, FloatArray] = {}
    shifts = read_shifts(spec.config, spec.domain_key, storage)
    pools = pool_contents(spec.config, spec.domain_key.task, storage) if shifts else frozenset()
    for name, found in shifts.items():
        rows = [row for row in found.usable if row.content not in pools]
        if not rows:
            raise DataError(
                f"{spec.domain_key}, shifted {name}: all samples are in a pool, too; remove it"
            )
        shown = [row.image or row.text or "" for row in rows]  # it has one of them
        by_shift[name] = predict.utility(shown, [str(row.label) for row in rows])
    by_corruption = {
        name: predict.utility([corrupted(name, x, i) for i, x in enumerate(payloads)], targets)
        for name in spec.corruptions
    }
    score = robustness_score(clean_N, list(by_corruption.values()), list(by_shift.values()))
    return DomainRobustness(
        clean=_quality("clean", clean_N),
        shifts=[
            replace(
                _quality(name, utility_N),
                in_pool=len(shifts[name].usable) - len(utility_N),
                bad=len(shifts[name].rejected),
            )
            for name, utility_N in by_shift.items()
        ],
        corruptions=[_quality(*each) for each in by_corruption.items()],
        score=None if score is None else Estimate(*score),
    )


def read_shifts(
    config: CampaignConfig, domain_key: DomainKey, storage: Storage
) -> dict[str, SomeRows]:
    """Read the samples of a domain's shifts, by name.

    Raises:
        DataError: the source of a shift cannot be read.
    """
    found, most = dict[str, SomeRows](), config.robustness.samples
    for name, source in config.domain(domain_key).shifted.items():
        try:
            found[name] = some_rows(config, domain_key, source, storage, most)
        except UmcError as error:
            raise DataError(f"{domain_key}, shifted {name}: {error}") from error
    return found


def pool_contents(config: CampaignConfig, task: str, storage: Storage) -> frozenset[bytes]:
    """Return the hashes of all that is in the pools of a task."""
    words = [
        content_words(
            read_index(storage, key, "pool", load_manifest(storage, key, "pool").generation)
        )
        for key in config.domains()
        if key.task == task and is_ingested(storage, key)
    ]
    return frozenset(row.tobytes() for words_K2 in words for row in words_K2)


def _quality(name: str, utility_N: FloatArray) -> ShiftQuality:
    return ShiftQuality(name, len(utility_N), Estimate(*mean_interval(utility_N)))


def _test_samples(
    spec: ShiftSpec, storage: Storage, most: int
) -> tuple[list[str | bytes], list[str]]:
    """Read random test samples that encoders can read, with their labels; the same each time."""
    places, _ = sample_pool(storage, spec.tests, spec.features, most, MOST_PARTS)
    column = spec.config.tasks[spec.domain_key.task].payload
    payloads = gather(storage, spec.tests, "pool", places, [column])[column].to_pylist()
    labels = gather(storage, spec.tests, "oracle", places, ["label"])["label"].to_pylist()
    return payloads, labels


@dataclass(frozen=True)
class _Predictor:
    """An ensemble with the encoders of all that it reads."""

    spec: ShiftSpec
    storage: Storage
    ensemble: Ensemble

    @classmethod
    def of(cls, spec: ShiftSpec, storage: Storage) -> "_Predictor":
        return cls(spec, storage, load_ensemble(storage, spec.ensemble, spec.kind))

    def utility(self, payloads: Sequence[str | bytes], targets: Sequence[str]) -> FloatArray:
        """Return what the ensemble's answers are worth; 0 where a sample cannot be read."""
        rows = self._rows(payloads)
        kind = self.spec.kind
        readable_N = np.all([np.isfinite(x_ND).all(axis=1) for x_ND in rows.values()], axis=0)
        filled = {name: np.nan_to_num(x_ND) for name, x_ND in rows.items()}
        measures = self.ensemble.measures(filled)
        table = score_table(kind, np.arange(len(payloads)), measures, self.ensemble.decision)
        predicted, _ = kind.predicted(pa.table(table))
        utility_N: FloatArray = np.where(readable_N, kind.utility(predicted, targets), 0)
        return utility_N

    def _rows(self, payloads: Sequence[str | bytes]) -> Mapping[str, Half]:
        """Compute what the ensemble reads, by name."""
        task, rows = self.spec.config.tasks[self.spec.domain_key.task], {}
        for name, config in task.named_encoders.items():
            if name in self.ensemble.reads:
                encoder = load_encoder(with_precision(config))
                rows[name] = encode_rows(encoder, payloads, config.batch_size)[0]
        for name, tuned in output_encodings(self.spec.ensemble, task, self.storage).items():
            size = tuned.config.batch_size
            rows[outputs_of(name)] = encode_rows(tuned.load(), payloads, size)[0]
        return rows
