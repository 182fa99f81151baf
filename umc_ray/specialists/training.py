"""Retrain the specialists, all of them in parallel, each by Ray Train.

Heads are small: Train's local mode inside a Ray task runs the loop at once, where a worker group
takes 13 s to start. The same loop runs on a worker group when the campaign asks for workers; the
processes then share the samples and sum their gradients.

Suffixes: S specialists, N samples, C classes, D embedding dimension.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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
from umc_ray.config.task import SpecialistConfig, TaskConfig
from umc_ray.methods import heads
from umc_ray.methods.calibration import fit_temperature
from umc_ray.methods.identity import fingerprint, uniform
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.ensemble import EnsembleRef
from umc_ray.storage import Storage

ACTIVE_WEIGHT = 10.0
"""Audit samples that all chosen ones together count as in calibration: chosen ones are harder
than the pool, and temperatures fitted on them alone leave the ensemble underconfident."""

LEAST_AGREEMENT = 0.5
"""A label that fewer gave was a reviewer's, or one of many: it counts as much as a tie of two."""

WORKER_FAILURES = 3
"""Lost workers that a specialist's training survives."""


@dataclass(frozen=True)
class TrainingSet:
    """The labeled samples of a task."""

    embeddings_ND: FloatArray
    labels_N: IntArray
    domains_N: npt.NDArray[np.str_]
    ids_N: IntArray
    audit_N: npt.NDArray[np.bool_]
    random_N: npt.NDArray[np.bool_]  # drawn at random: audits, and batches without selection
    rounds_N: IntArray  # in which they were labeled
    agreement_N: FloatArray  # share of the people who gave this label


@dataclass(frozen=True)
class EnsembleJob:
    """An ensemble to train: its task, what there is to learn from, and where it goes."""

    task: TaskConfig
    samples: TrainingSet
    folder: str  # such as models/<task>/<round>
    before: EnsembleRef | None  # the ensemble of the round before


@dataclass(frozen=True)
class SpecialistJob:
    """What one training task needs to know beside the samples."""

    specialist: SpecialistConfig
    classes: int
    training: TrainingConfig
    folder: str
    before: str | None
    seed: int


@dataclass(frozen=True)
class Trained:
    """An ensemble and the held-out opinion of each training sample, N x C."""

    ref: EnsembleRef
    held_out_NC: FloatArray
    specialists: dict[str, dict[str, Any]]


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
        samples = ray.put(job.samples)
        specialists = _specialist_jobs(job, training, storage, seed)
        running.append([train_one.remote(each, samples, storage, labels) for each in specialists])
    return [
        _calibrated(job, ray.get(refs), storage) for job, refs in zip(jobs, running, strict=True)
    ]


def _specialist_jobs(
    job: EnsembleJob, training: TrainingConfig, storage: Storage, seed: int
) -> list[SpecialistJob]:
    known: set[str] = set()
    if job.before is not None and training.start == "warm":
        known = {f"{job.before.folder}/{name}" for name in job.before.specialists}
    specialists = []
    for name, specialist in job.task.ensemble().items():
        before = f"{job.before.folder}/{name}" if job.before is not None else ""
        specialists.append(
            SpecialistJob(
                specialist=specialist,
                classes=len(job.task.labels),
                training=training,
                folder=f"{job.folder}/{name}",
                before=before if before in known else None,
                seed=seed,
            )
        )
    return specialists


def _calibrated(job: EnsembleJob, reports: list[dict[str, Any]], storage: Storage) -> Trained:
    """Fit each specialist's temperature on held-out logits; average the calibrated opinions."""
    names = list(job.task.ensemble())
    weights_N = _calibration_weights(job.samples.audit_N)
    specialists, probs_SNC = {}, []
    for name, report in zip(names, reports, strict=True):
        folder = f"{job.folder}/{name}"
        logits_NC = load(storage.read_bytes(f"{folder}/held_out.safetensors"))["logits_NC"]
        temperature = fit_temperature(logits_NC.numpy(), job.samples.labels_N, weights_N)
        storage.write_json(f"{folder}/calibration.json", {"temperature": temperature})
        specialists[name] = {**report, "temperature": temperature}
        probs_SNC.append(torch.softmax(logits_NC / temperature, dim=-1).numpy())
    ref = EnsembleRef(job.folder, tuple(names), fingerprint(specialists))
    return Trained(ref, np.mean(probs_SNC, axis=0, dtype=np.float32), specialists)


def train_specialist(
    job: SpecialistJob, samples: TrainingSet, storage: Storage, labels: Labels
) -> dict[str, Any]:
    """Run Ray Train for one specialist; returns what its loop stored as a report."""
    with tempfile.TemporaryDirectory() as scratch:
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": job, "samples": samples, "storage": storage},
            scaling_config=ScalingConfig(  # type: ignore[call-arg]  # typed as that of Train's v1
                num_workers=job.training.workers,
                use_gpu=job.training.use_gpu,
                label_selector=dict(labels) or None,
            ),
            run_config=RunConfig(
                name=job.folder.replace("/", "-"),
                storage_path=storage.within("train").root if job.training.workers else scratch,
                failure_config=FailureConfig(max_failures=WORKER_FAILURES),
            ),
        )
        trainer.fit()
    report: dict[str, Any] = storage.read_json(f"{job.folder}/report.json")
    return report


def train_loop(config: dict[str, Any]) -> None:
    """Fit a head on this worker's share of the samples; rank 0 stores it.

    A head takes a second, so a lost worker group starts over: there is nothing to checkpoint.
    """
    job, samples, storage = config["job"], config["samples"], config["storage"]
    rank, world = _place()
    mine = slice(rank, None, world)
    device = train.torch.get_device().type if job.training.use_gpu else "cpu"
    fit = heads.fit(
        samples.embeddings_ND[mine],
        samples.labels_N[mine],
        _sample_weights(job, samples)[mine],
        _folds(job, samples)[mine],
        _first_parameters(job, samples.embeddings_ND.shape[1], storage),
        device,
    )
    held_out_NC = torch.zeros(len(samples.labels_N), job.classes)
    held_out_NC[mine] = torch.from_numpy(fit.held_out_NC)
    if world > 1:
        held_out_NC = held_out_NC.to(device)
        dist.all_reduce(held_out_NC)
    if rank == 0:
        _store(job, fit, held_out_NC.cpu(), storage)


def _store(job: SpecialistJob, fit: heads.Fit, held_out_NC: torch.Tensor, storage: Storage) -> None:
    """Store a specialist and the report on it: of a worker group, Train hands back no numbers."""
    held_out = save({"logits_NC": held_out_NC.contiguous()})
    storage.write_bytes(f"{job.folder}/held_out.safetensors", held_out)
    storage.write_json(f"{job.folder}/config.json", job.specialist.model_dump())
    weights = save({k: v.contiguous() for k, v in fit.parameters.items()})
    storage.write_bytes(f"{job.folder}/model.safetensors", weights)
    report = {
        "loss": fit.loss,
        "penalty": fit.penalty,
        "rows": len(held_out_NC),
        "weights": fingerprint([float(v.double().sum()) for v in fit.parameters.values()]),
    }
    storage.write_json(f"{job.folder}/report.json", report)


def _place() -> tuple[int, int]:
    """Return this worker's rank and the number of workers."""
    context = train.get_context()
    return context.get_world_rank(), context.get_world_size()


def _sample_weights(job: SpecialistJob, samples: TrainingSet) -> FloatArray:
    """Weigh samples by how far people agree and by the domain of expertise; mean one.

    benchmarks/consensus.py tells what that of people brings.
    """
    own_N = np.isin(samples.domains_N, job.specialist.domain or samples.domains_N)
    domain_N = np.where(own_N, 1.0, job.training.outside_weight).astype(np.float32)
    weights_N = domain_N * np.maximum(samples.agreement_N, np.float32(LEAST_AGREEMENT))
    scaled_N: FloatArray = weights_N / weights_N.mean()
    return scaled_N


def _folds(job: SpecialistJob, samples: TrainingSet) -> IntArray:
    """Deal samples into folds by id: the same for all specialists, whatever else is labeled."""
    n_folds = min(job.training.folds, len(samples.ids_N))
    return (uniform(samples.ids_N, job.seed, "folds") * n_folds).astype(np.int64)


def _first_parameters(job: SpecialistJob, dimension: int, storage: Storage) -> heads.Parameters:
    if job.before is not None:
        return load(storage.read_bytes(f"{job.before}/model.safetensors"))
    head = job.specialist
    return heads.start(head.head, 1, dimension, job.classes, head.hidden, job.seed)


def _calibration_weights(audit_N: npt.NDArray[np.bool_]) -> FloatArray:
    chosen = max(int((~audit_N).sum()), 1)
    return np.where(audit_N, 1.0, min(1.0, ACTIVE_WEIGHT / chosen)).astype(np.float32)
