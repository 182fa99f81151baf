"""Retrain the specialists, all of them in parallel, each by Ray Train.

Heads are small: Train's local mode inside a Ray task runs the loop at once, where a worker group
takes 13 s to start. The same loop runs on a worker group when the campaign asks for workers; the
processes then share the examples and sum their gradients.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import torch
import torch.distributed as dist
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from safetensors.torch import load, save

from umc_ray.cluster.resources import ANY_NODE, Labels
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.task import TaskConfig
from umc_ray.methods.identity import fingerprint, uniform
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.ensemble import EnsembleRef, decision_key
from umc_ray.specialists.registry import SPECIALISTS
from umc_ray.specialists.specialist import Examples, FitJob, FitReport, Specialist
from umc_ray.storage import Storage
from umc_ray.tasks.task import Calibration, TaskKind

SELECTED_WEIGHT = 10.0
"""Audit samples that all selected ones together count as in calibration: selected ones are harder
than the pool, and temperatures fitted on them alone leave the ensemble underconfident."""

MIN_AGREEMENT = 0.5
"""A label that fewer gave was a reviewer's, or one of many: it counts as much as a tie of two."""

DECISION_FOLDS = 5

WORKER_FAILURES = 3
"""Lost workers that a specialist's training survives."""


@dataclass(frozen=True)
class EnsembleJob:
    """An ensemble to train: its task, what there is to learn from, and where it goes."""

    task: TaskConfig
    examples: Examples
    folder: str  # such as models/<task>/<round>
    before: EnsembleRef | None  # the ensemble of the round before


@dataclass(frozen=True)
class SpecialistReport:
    """What the training of a specialist gave."""

    loss: float
    penalty: float
    rows: int
    weights: str
    calibration: Calibration


@dataclass(frozen=True)
class Trained:
    """An ensemble, and its held-out predictions for the examples."""

    ref: EnsembleRef
    predicted_N: tuple[str, ...]
    certainty_N: FloatArray  # probability that the answer is right in full
    specialists: dict[str, SpecialistReport]


def train_ensembles(
    jobs: Sequence[EnsembleJob],
    training: TrainingConfig,
    storage: Storage,
    seed: int,
    labels: Labels = ANY_NODE,
) -> list[Trained]:
    """Train, calibrate and store the specialists of all tasks, all in parallel.

    Only nodes with the labels train.
    """
    train_one = ray.remote(train_specialist).options(
        num_cpus=0 if training.workers else 1, label_selector=dict(labels)
    )
    running = []
    for job in jobs:
        fits = _fit_jobs(job, training, storage, seed)
        # A task is sent the embeddings of its own encoders only.
        sent = {
            reads: ray.put(
                replace(job.examples, features={n: job.examples.features[n] for n in reads})
            )
            for reads in {fit.specialist.encoders for fit in fits}
        }
        running.append(
            [train_one.remote(fit, sent[fit.specialist.encoders], labels) for fit in fits]
        )
    return [
        _calibrated(job, ray.get(refs), storage) for job, refs in zip(jobs, running, strict=True)
    ]


def _fit_jobs(
    job: EnsembleJob, training: TrainingConfig, storage: Storage, seed: int
) -> list[FitJob]:
    known: set[str] = set()
    if job.before is not None and training.start == "warm":
        known = {f"{job.before.folder}/{name}" for name in job.before.specialists}
    fits = []
    for name, specialist in job.task.ensemble().items():
        before = f"{job.before.folder}/{name}" if job.before is not None else ""
        fits.append(
            FitJob(
                specialist=specialist,
                kind=job.task.task_kind(),
                storage=storage,
                folder=f"{job.folder}/{name}",
                before=before if before in known else None,
                seed=seed,
                training=training,
            )
        )
    return fits


def _calibrated(job: EnsembleJob, reports: list[FitReport], storage: Storage) -> Trained:
    """Calibrate each specialist on its held-out outputs, and the decision on their mean."""
    kind, examples, names = job.task.task_kind(), job.examples, list(job.task.ensemble())
    weights_N = _calibration_weights(examples.audit_N)
    specialists, probs_SNC = {}, []
    for name, report in zip(names, reports, strict=True):
        folder = f"{job.folder}/{name}"
        outputs_NC = load(storage.read_bytes(_held_out_key(folder)))["outputs_NC"]
        calibration = kind.calibrate(outputs_NC.numpy(), examples.targets, weights_N)
        storage.write_json(f"{folder}/calibration.json", calibration)
        specialists[name] = SpecialistReport(
            **asdict(report), rows=len(examples), calibration=calibration
        )
        probs_SNC.append(kind.activation([calibration])(outputs_NC[None])[0].numpy())
    mean_NC: FloatArray = np.asarray(np.mean(probs_SNC, axis=0, dtype=np.float32))
    storage.write_json(decision_key(job.folder), kind.decide(mean_NC, examples.targets, weights_N))
    predicted_N, certainty_N = _held_out_answers(kind, mean_NC, examples, weights_N)
    version = fingerprint([asdict(specialists[name]) for name in names])
    return Trained(
        ref=EnsembleRef(job.folder, tuple(names), version),
        predicted_N=predicted_N,
        certainty_N=certainty_N,
        specialists=specialists,
    )


def _held_out_answers(
    kind: TaskKind, mean_NC: FloatArray, examples: Examples, weights_N: FloatArray
) -> tuple[tuple[str, ...], FloatArray]:
    """Turn held-out means into answers, each decided by what the other folds say."""
    n_folds = min(DECISION_FOLDS, len(examples))
    folds_N = (uniform(examples.ids_N, 0, "decision") * n_folds).astype(np.int64)
    predicted = np.empty(len(examples), dtype=object)
    certainty_N = np.empty(len(examples), dtype=np.float32)
    for fold in range(n_folds):
        rows, others = np.flatnonzero(folds_N == fold), folds_N != fold
        decision = kind.decide(mean_NC[others], examples.targets[others], weights_N[others])
        mean = torch.from_numpy(mean_NC[rows])
        predicted[rows] = kind.predict(mean, decision)
        certainty_N[rows] = kind.measures(mean[None], decision).certainty_N.numpy()
    return tuple(predicted), certainty_N


def _calibration_weights(audit_N: npt.NDArray[np.bool_]) -> FloatArray:
    selected = max(int((~audit_N).sum()), 1)
    return np.where(audit_N, 1.0, min(1.0, SELECTED_WEIGHT / selected)).astype(np.float32)


def train_specialist(job: FitJob, examples: Examples, labels: Labels) -> FitReport:
    """Run Ray Train for one specialist; returns the report that its loop stored."""
    with tempfile.TemporaryDirectory() as scratch:
        workers = job.training.workers
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": job, "examples": examples},
            scaling_config=ScalingConfig(  # type: ignore[call-arg]  # typed as that of Train's v1
                num_workers=workers,
                use_gpu=job.training.use_gpu,
                label_selector=dict(labels) or None,
            ),
            run_config=RunConfig(
                name=job.folder.replace("/", "-"),
                storage_path=job.storage.within("train").root if workers else scratch,
                failure_config=FailureConfig(max_failures=WORKER_FAILURES),
            ),
        )
        trainer.fit()
    return job.storage.read_record(f"{job.folder}/report.json", FitReport)


def train_loop(config: dict[str, Any]) -> None:
    """Fit a specialist on this worker's share of the examples; rank 0 stores it.

    A lost worker group starts over: what trains for seconds needs no checkpoint.
    """
    job, examples = config["job"], config["examples"]
    context = train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    share = slice(rank, None, world)
    device = train.torch.get_device().type if job.training.use_gpu else "cpu"
    model, outputs_NC, report = SPECIALISTS[job.specialist.kind].fit(
        job,
        examples.rows(share),
        _sample_weights(job, examples)[share],
        _folds(job, examples)[share],
        device,
    )
    held_out_NC = torch.zeros(len(examples), job.kind.outputs)
    held_out_NC[share] = torch.from_numpy(outputs_NC)
    if world > 1:
        held_out_NC = held_out_NC.to(device)
        dist.all_reduce(held_out_NC)
    if rank == 0:
        _store(job, model, held_out_NC.cpu(), report)


def _store(job: FitJob, model: Specialist, held_out_NC: torch.Tensor, report: FitReport) -> None:
    """Store a specialist and the report on it: of a worker group, Train hands back no numbers."""
    outputs = save({"outputs_NC": held_out_NC.contiguous()})
    job.storage.write_bytes(_held_out_key(job.folder), outputs)
    job.storage.write_json(f"{job.folder}/config.json", job.specialist.model_dump())
    model.save(job.storage, job.folder)
    job.storage.write_record(f"{job.folder}/report.json", report)


def _held_out_key(folder: str) -> str:
    return f"{folder}/held_out.safetensors"


def _sample_weights(job: FitJob, examples: Examples) -> FloatArray:
    """Weigh examples by how far people agree and by the domain of expertise; mean one.

    benchmarks/consensus.py tells what agreement brings.
    """
    own_N = np.isin(examples.domains_N, job.specialist.domain or examples.domains_N)
    domain_N = np.where(own_N, 1.0, job.training.outside_weight).astype(np.float32)
    weights_N = domain_N * np.maximum(examples.agreement_N, np.float32(MIN_AGREEMENT))
    scaled_N: FloatArray = weights_N / weights_N.mean()
    return scaled_N


def _folds(job: FitJob, examples: Examples) -> IntArray:
    """Deal examples into folds by id: the same for all specialists, whatever else is labeled."""
    n_folds = min(job.training.folds, len(examples))
    return (uniform(examples.ids_N, job.seed, "folds") * n_folds).astype(np.int64)
