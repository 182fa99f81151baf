"""From the held-out outputs of specialists to an ensemble: calibrations, weights and the decision.

Held-out outputs are those of models that did not see the sample. They decide how sure each
specialist may be, how much it counts, whether fine-tuned ones pay, and how good the ensemble is.

Suffixes: S specialists, N samples, C outputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from umc_ray.config.task import TaskConfig
from umc_ray.methods.group_thresholds import group_shift
from umc_ray.methods.identity import fingerprint, uniform
from umc_ray.methods.intersections import OTHER, intersect
from umc_ray.methods.stacking import sharpen, sharpen_groups, stack
from umc_ray.methods.threads import one_thread
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.ensemble import EnsembleRef, decision_key, heads_key
from umc_ray.specialists.held_out import read_held_out
from umc_ray.specialists.specialist import Examples, FitReport
from umc_ray.storage import Storage
from umc_ray.tasks.classification import LEAST_PROBABILITY
from umc_ray.tasks.decisions import group_key, in_domain
from umc_ray.tasks.task import Calibration, TaskKind

SELECTED_WEIGHT = 20.0
"""Random samples that all selected ones together count as in calibration: selected ones are harder
than the pool, and temperatures fitted on them alone leave the ensemble underconfident. The audits
of a few hundred labels alone are too few."""

DECISION_FOLDS = 5

FINE_TUNED_FROM = 100
"""Labels from which `specialists: auto` fine-tunes: with fewer, heads are as good."""

MIN_GAIN = 0.01
"""By how much of the log-loss fine-tuned specialists must improve an ensemble to be scored with."""


@dataclass(frozen=True)
class EnsembleJob:
    """An ensemble to train: its task, what there is to learn from, and where it goes."""

    task: TaskConfig
    examples: Examples
    folder: str  # such as models/<task>/<round>
    before: EnsembleRef | None  # the ensemble of the round before
    last: bool = False  # no more labels will come
    heads_first: bool = False  # fine-tuned specialists score the candidates of heads only
    reweighing: float = 0.0  # exponent of the training weights of classes by group
    smallest_group: int | None = None  # that gets a threshold of its own; None: none does

    @property
    def by_evidence(self) -> bool:
        """Whether held-out predictions decide which specialists there are."""
        return self.task.specialists == "auto" and self.task.learned_from == "embedding"

    @property
    def fine_tuned_from(self) -> int:
        """The number of labels from which specialists are fine-tuned."""
        return FINE_TUNED_FROM if self.by_evidence else 1


@dataclass(frozen=True)
class SpecialistReport:
    """What the training of a specialist gave.

    `weight` is its share in the ensemble; 0 with a reason in `dropped` if it is not part of it.
    """

    loss: float
    penalty: float | None
    rows: int
    weights: str
    calibration: Calibration
    epochs: int | None = None
    weight: float = 1.0
    dropped: str = ""


@dataclass(frozen=True)
class Trained:
    """An ensemble, and its held-out predictions for the examples."""

    ref: EnsembleRef
    predicted_N: tuple[str, ...]
    certainty_N: FloatArray  # probability that the answer is right in full
    specialists: dict[str, SpecialistReport]


@one_thread()
def combine(job: EnsembleJob, reports: Mapping[str, FitReport], storage: Storage) -> Trained:
    """Calibrate, weigh and store the ensemble of the specialists that were trained."""
    kind, examples = job.task.task_kind(), job.examples.real
    importance_N = _importance(examples.random_N)
    calibrations, probs = {}, {}
    for name in reports:
        folder = f"{job.folder}/{name}"
        outputs_NC = read_held_out(storage, folder).outputs_NC[: len(examples)]
        calibrations[name] = kind.calibrate(outputs_NC.numpy(), examples.targets, importance_N)
        storage.write_json(f"{folder}/calibration.json", calibrations[name])
        probs[name] = kind.activation([calibrations[name]])(outputs_NC[None])[0]
    evidence = Evidence(kind, examples, importance_N)
    dropped = _dropped(job, evidence, probs) if job.by_evidence else {}
    names = [name for name in probs if name not in dropped]
    probs_SNC = torch.stack([probs[name] for name in names])
    decision = _with_groups(job, evidence, probs_SNC)
    storage.write_json(decision_key(job.folder), decision)
    predicted_N, certainty_N = evidence.answers(probs_SNC)
    weights = dict(zip(names, _shares(decision, len(names)), strict=True))
    specialists = {
        name: SpecialistReport(
            **asdict(report),
            rows=len(examples),
            calibration=calibrations[name],
            weight=weights.get(name, 0.0),
            dropped=dropped.get(name, ""),
        )
        for name, report in reports.items()
    }
    tuned = tuple(
        (name, reports[name].weights) for name in names if job.task.ensemble()[name].fine_tunes
    )
    ref = EnsembleRef(
        job.folder,
        tuple(names),
        "",
        tuned,
        heads_first=job.heads_first and bool(tuned),
        rejected=_rejected(job, reports, dropped),
    )
    if ref.tuned and ref.heads:
        heads = _with_groups(job, evidence, torch.stack([probs[name] for name in ref.heads]))
        storage.write_json(heads_key(job.folder), heads)
    version = fingerprint([decision, *(asdict(specialists[name]) for name in names)])
    return Trained(
        ref=replace(ref, version=version),
        predicted_N=predicted_N,
        certainty_N=certainty_N,
        specialists=specialists,
    )


@dataclass(frozen=True)
class Evidence:
    """The examples on which an ensemble is decided, with what each counts for."""

    kind: TaskKind
    examples: Examples
    importance_N: FloatArray

    def decision(self, probs_SNC: Tensor, rows: IntArray | None = None) -> Calibration:
        """Fit the weights of the specialists, and what turns their mean into predictions."""
        rows = np.arange(len(self.examples)) if rows is None else rows
        targets, importance_N = self.examples.targets[rows], self.importance_N[rows]
        probs_SNC = probs_SNC[:, rows]
        weights: Calibration = {}
        domains_N = self.examples.domains_N[rows]
        several = len(np.unique(domains_N)) > 1
        if len(probs_SNC) > 1 or several:
            y, how = torch.from_numpy(targets), (self.kind.pooling, self.kind.log_loss)
            scaled = [1.0]  # of one specialist, which is calibrated
            if len(probs_SNC) > 1:
                shares = stack(probs_SNC, y, *how)
                scaled = sharpen(probs_SNC, y, shares, torch.from_numpy(importance_N), *how)
            weights = {"weights": scaled}
            if several:
                weights["domains"] = sharpen_groups(probs_SNC, y, scaled, domains_N, *how)
        mean_NC = self.mean(probs_SNC, weights, domains_N).numpy()
        return {**self.kind.decide(mean_NC, targets, importance_N), **weights}

    def mean(
        self, probs_SNC: Tensor, decision: Calibration, domains_N: npt.NDArray[np.str_]
    ) -> Tensor:
        """Return the ensemble's probabilities of samples of some domains."""
        mean_NC = torch.empty_like(probs_SNC[0])
        for domain in np.unique(domains_N).tolist():
            own_N = torch.from_numpy(domains_N == domain)
            measures = self.kind.measures(probs_SNC[:, own_N], in_domain(decision, domain))
            mean_NC[own_N] = measures.mean_NC
        return mean_NC

    def answers(self, probs_SNC: Tensor) -> tuple[tuple[str, ...], FloatArray]:
        """Return the ensemble's answers and how certain they are, decided by the other folds."""
        predicted = np.empty(len(self.examples), dtype=object)
        certainty_N = np.empty(len(self.examples), dtype=np.float32)
        for rows, decision in self._folds(probs_SNC):
            for domain in np.unique(self.examples.domains_N[rows]).tolist():
                own = rows[self.examples.domains_N[rows] == domain]
                decided = in_domain(decision, domain)
                measures = self.kind.measures(probs_SNC[:, own], decided)
                predicted[own] = self.kind.predict(measures.mean_NC, decided)
                certainty_N[own] = measures.certainty_N.numpy()
        return tuple(predicted), certainty_N

    def loss(self, probs_SNC: Tensor) -> float:
        """Return the ensemble's mean log-loss, its weights fitted on the other folds."""
        total = 0.0
        for rows, decision in self._folds(probs_SNC):
            targets = torch.from_numpy(self.examples.targets[rows])
            mean_NC = self.mean(probs_SNC[:, rows], decision, self.examples.domains_N[rows])
            total += float(self.kind.log_loss(mean_NC, targets).sum())
        return total / len(self.examples)

    def _folds(self, probs_SNC: Tensor) -> list[tuple[IntArray, Calibration]]:
        """Return the rows of each fold, and the decision by all others."""
        n_folds = min(DECISION_FOLDS, len(self.examples))
        folds_N = (uniform(self.examples.ids_N, 0, "decision") * n_folds).astype(np.int64)
        return [
            (rows, self.decision(probs_SNC, np.flatnonzero(folds_N != fold)))
            for fold in range(n_folds)
            if len(rows := np.flatnonzero(folds_N == fold))
        ]


def _with_groups(job: EnsembleJob, evidence: Evidence, probs_SNC: Tensor) -> Calibration:
    """Return the decision with the shifts of groups, if they are asked for."""
    decision = evidence.decision(probs_SNC)
    if job.smallest_group is None:
        return decision
    examples = evidence.examples
    mean_NC = evidence.mean(probs_SNC, decision, examples.domains_N).numpy().astype(np.float64)
    log_N = np.log(np.clip(mean_NC, LEAST_PROBABILITY, 1))
    log_odds_N, positive_N = log_N[:, 1] - log_N[:, 0], examples.targets == 1
    shifts: dict[str, float] = {}
    for domain, config in job.task.domains.items():
        rows = np.flatnonzero(examples.domains_N == domain)
        if config.groups and len(rows):
            names = [examples.groups[name][rows] for name in config.groups]
            groups = intersect(names, job.smallest_group)
            weights_N = evidence.importance_N[rows].astype(np.float64)
            for code, name in enumerate(groups.names):
                own_N = groups.codes_N == code
                shift = group_shift(log_odds_N[rows], positive_N[rows], weights_N, own_N)
                if name != OTHER and shift:
                    shifts[group_key(domain, name)] = shift
    return {**decision, "groups": shifts} if shifts else decision


def _dropped(job: EnsembleJob, evidence: Evidence, probs: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the fine-tuned specialists that do not pay, and why."""
    tuned = [name for name in probs if job.task.ensemble()[name].fine_tunes]
    if not tuned:
        return {}
    heads = [name for name in probs if name not in tuned]
    without, with_all = (
        evidence.loss(torch.stack([probs[name] for name in names])) for names in (heads, probs)
    )
    if with_all < without * (1 - MIN_GAIN):
        return {}
    reason = f"held-out log-loss {with_all:.3f} with it, {without:.3f} without"
    return dict.fromkeys(tuned, reason)


def _rejected(
    job: EnsembleJob, reports: Mapping[str, FitReport], dropped: Mapping[str, str]
) -> tuple[tuple[str, int], ...]:
    """Return the fine-tuned specialists that do not pay, now or when they were last tried."""
    before = () if job.before is None else job.before.rejected
    now = {name: len(job.examples) for name in dropped}
    return tuple(({name: n for name, n in before if name not in reports} | now).items())


def _shares(decision: Calibration, specialists: int) -> Sequence[float]:
    """Return the shares of specialists in an ensemble, with sum 1."""
    weights = decision.get("weights", [1.0] * specialists)
    assert isinstance(weights, list)
    return [weight / sum(weights) for weight in weights]


def _importance(random_N: npt.NDArray[np.bool_]) -> FloatArray:
    selected = max(int((~random_N).sum()), 1)
    return np.where(random_N, 1.0, min(1.0, SELECTED_WEIGHT / selected)).astype(np.float32)
