"""Retrain the specialists, all of them in parallel, each by Ray Train.

Heads are small: Train's local mode inside a Ray task runs the loop at once, where a worker group
takes 13 s to start. The same loop runs on a worker group when the campaign asks for workers; the
processes then share the examples and sum their gradients.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from ray import train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from safetensors.torch import load_file, save_file

from umc_ray.cluster.resources import ANY_NODE, Labels, check_resources, cpus_of_largest_node
from umc_ray.config.campaign import TrainingConfig
from umc_ray.errors import UmcError
from umc_ray.methods.identity import fingerprint, uniform
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.combination import EnsembleJob, Trained, combine
from umc_ray.specialists.epochs import FOLDER as EPOCHS
from umc_ray.specialists.epochs import NULL_FIT_LISTENER, EpochLog, FitListener
from umc_ray.specialists.experts import without_expert
from umc_ray.specialists.fine_tuning import most_folds
from umc_ray.specialists.held_out import keep, write_held_out
from umc_ray.specialists.registry import SPECIALISTS
from umc_ray.specialists.specialist import (
    Epoch,
    Examples,
    FitJob,
    FitReport,
    Specialist,
    Tensors,
)
from umc_ray.storage import Storage

MIN_AGREEMENT = 0.5
"""A label that fewer gave was a reviewer's, or one of many: it counts as much as a tie of two."""

MAX_THREADS = 4
"""CPUs that fine-tuning uses at most without workers: small networks gain little from more."""

CHECKPOINT = "state.safetensors"

WORKER_FAILURES = 3
"""Lost workers that a specialist's training survives."""

POLL_S = 1.0
"""How long the driver waits before it looks again for epochs of fits that run."""


def train_ensembles(
    jobs: Sequence[EnsembleJob],
    training: TrainingConfig,
    storage: Storage,
    seed: int,
    labels: Labels = ANY_NODE,
    listener: FitListener = NULL_FIT_LISTENER,
) -> list[Trained]:
    """Train, calibrate and store the specialists of all tasks, all in parallel.

    Only nodes with the labels train. The listener hears of the epochs of fine-tuned specialists.

    Raises:
        ConfigError: a fine-tuned specialist needs more than the cluster has.
    """
    check_training_resources(training, labels)
    train_one = ray.remote(train_specialist)
    storage.delete(EPOCHS)  # of a run that was killed
    running, kept = [], []
    for job in jobs:
        fits = _fit_jobs(job, training, storage, seed)
        found = {fit.name: _keep(job, fit) for fit in fits}
        kept.append({name: report for name, report in found.items() if report is not None})
        fits = [fit for fit in fits if found[fit.name] is None]
        sent = {needs: ray.put(_examples(job.examples, *needs)) for needs in map(_needs, fits)}
        running.append(
            {
                fit.name: train_one.options(**_resources(fit, labels)).remote(
                    fit, sent[_needs(fit)], labels
                )
                for fit in fits
            }
        )
    _follow(jobs, running, storage, listener)
    trained = []
    for job, refs, reports in zip(jobs, running, kept, strict=True):
        new = dict(zip(refs, ray.get(list(refs.values())), strict=True))
        trained.append(combine(job, _in_order(job, {**new, **reports}), storage))
    return trained


def _follow(
    jobs: Sequence[EnsembleJob],
    running: Sequence[Mapping[str, Any]],
    storage: Storage,
    listener: FitListener,
) -> None:
    """Tell the listener of each epoch of fine-tuning until all fits are done, or one fails."""
    followed = {
        ref: _FollowedFit(job, name, storage, listener)
        for job, refs in zip(jobs, running, strict=True)
        for name, ref in refs.items()
        if job.task.ensemble()[name].fine_tunes
    }
    pending = [ref for refs in running for ref in refs.values()]
    while pending:
        done, pending = ray.wait(pending, timeout=POLL_S)
        for ref in followed.keys() & {*done, *pending}:
            followed[ref].tell()
        _raise_failure(done)  # at once
        for ref in followed.keys() & done:
            listener.end(followed[ref].folder)
    storage.delete(EPOCHS)


def _raise_failure(done: Sequence[Any]) -> None:
    """Raise the error of a fit as it was there, with no trace of the process around it."""
    try:
        ray.get(list(done))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UmcError):
            raise error.cause from None
        raise


class _FollowedFit:
    """A fit that runs elsewhere, and who hears of its epochs."""

    def __init__(
        self, job: EnsembleJob, name: str, storage: Storage, listener: FitListener
    ) -> None:
        self.folder = f"{job.folder}/{name}"
        self.log = EpochLog(storage, self.folder)
        # Each fold is left out of one training, and all are in the last one.
        trainings = most_folds(job.task.task_kind())
        samples = job.task.ensemble()[name].epochs * trainings * len(job.examples)
        self.on_epoch = listener.begin(self.folder, samples)

    def tell(self) -> None:
        """Tell of the epochs since the last call."""
        for epoch in self.log.new():
            self.on_epoch(epoch)


def _keep(job: EnsembleJob, fit: FitJob) -> FitReport | None:
    if not fit.specialist.fine_tunes or job.last:
        return None
    return keep(fit.storage, job.before, fit.specialist, fit.folder, job.examples, fit.training)


def _in_order(job: EnsembleJob, reports: Mapping[str, FitReport]) -> dict[str, FitReport]:
    return {name: reports[name] for name in job.task.ensemble() if name in reports}


def _fit_jobs(
    job: EnsembleJob, training: TrainingConfig, storage: Storage, seed: int
) -> list[FitJob]:
    known: set[str] = set()
    if job.before is not None and training.start == "warm":
        known = {f"{job.before.folder}/{name}" for name in job.before.specialists}
    fits, generalized = [], without_expert(job.task, job.examples)
    for name, specialist in job.task.ensemble().items():
        if specialist.fine_tunes and not _is_due(job, name, training):
            continue
        if specialist.domain in generalized:
            continue
        before = f"{job.before.folder}/{name}" if job.before is not None else ""
        encoder = job.task.named_encoders[specialist.encoders[0]]
        fits.append(
            FitJob(
                specialist=specialist,
                kind=job.task.task_kind(),
                storage=storage,
                folder=f"{job.folder}/{name}",
                before=before if before in known else None,
                seed=seed,
                training=training,
                encoder=encoder if specialist.fine_tunes else None,
                reweighing=job.reweighing,
            )
        )
    return fits


def _is_due(job: EnsembleJob, name: str, training: TrainingConfig) -> bool:
    """Whether to fine-tune: with enough labels, and with more after it did not pay."""
    labels = len(job.examples)
    rejected = {} if job.before is None else dict(job.before.rejected)
    enough = labels >= training.refit_growth * rejected.get(name, 0)
    return labels >= job.fine_tuned_from and (enough or job.last)


def _needs(fit: FitJob) -> tuple[tuple[str, ...], bool]:
    """Return the encoders whose embeddings a fit reads, and whether it reads payloads."""
    tunes = fit.specialist.fine_tunes
    return () if tunes else fit.specialist.encoders, tunes


def _examples(examples: Examples, encoders: Sequence[str], payloads: bool) -> Examples:
    """Return examples with what a fit reads of them: a task is sent nothing else."""
    features = {name: examples.features[name] for name in encoders}
    return replace(
        examples, features=features, payloads_N=examples.payloads_N if payloads else None
    )


def check_training_resources(training: TrainingConfig, labels: Labels = ANY_NODE) -> None:
    """Refuse training that would wait forever for what the cluster does not have.

    Raises:
        ConfigError: the message lists what is there.
    """
    asked_by = "training.workers" if training.workers else "training.use_gpu"
    if training.workers or training.use_gpu:
        check_resources(max(training.workers, 1), float(training.use_gpu), labels, asked_by)


def _resources(fit: FitJob, labels: Labels) -> dict[str, Any]:
    """Return what the task of a fit reserves; a worker group reserves for itself."""
    workers, on_gpu = fit.training.workers, fit.training.use_gpu
    resources: dict[str, Any] = {"label_selector": dict(labels)}
    if workers:
        return resources | {"num_cpus": 0}
    threads = min(MAX_THREADS, cpus_of_largest_node(labels)) if fit.specialist.fine_tunes else 1
    return resources | {"num_cpus": threads, "num_gpus": int(on_gpu)}


def train_specialist(job: FitJob, examples: Examples, labels: Labels) -> FitReport:
    """Run Ray Train for one specialist; returns the report that its loop stored."""
    # Ray Train resumes by name: another name where the labels have changed.
    name = f"{job.folder.replace('/', '-')}-{_fingerprint(job, examples)}"
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
                name=name,
                storage_path=job.storage.within("train").root if workers else scratch,
                failure_config=FailureConfig(max_failures=WORKER_FAILURES),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
            ),
        )
        trainer.fit()
    job.storage.delete(f"train/{name}")
    return job.storage.read_record(f"{job.folder}/report.json", FitReport)


def _fingerprint(job: FitJob, examples: Examples) -> str:
    labels = [examples.ids_N.tolist(), examples.texts_N, examples.agreement_N.tolist()]
    if examples.synthetic is not None:
        labels += [examples.synthetic.weights_N.tolist(), examples.synthetic.origins_N.tolist()]
    return fingerprint([job.specialist.model_dump(), job.seed, job.reweighing, labels])


def train_loop(config: dict[str, Any]) -> None:
    """Fit a specialist, together with the other workers; rank 0 stores it.

    A lost worker group of a head starts over: what trains for seconds needs no checkpoint.
    """
    job, examples = config["job"], config["examples"]
    rank = train.get_context().get_world_rank()
    device = train.torch.get_device().type if job.training.use_gpu else "cpu"
    job = replace(job, on_epoch=partial(_on_epoch, job))
    if job.training.workers:
        job = replace(job, resume=_checkpoint())
    model, held_out_NC, report = SPECIALISTS[job.specialist.kind].fit(
        job, examples, _sample_weights(job, examples), _folds(job, examples), device
    )
    if rank == 0:
        _store(job, model, torch.from_numpy(held_out_NC), examples, report)


def _on_epoch(job: FitJob, epoch: Epoch, state: Callable[[], Tensors]) -> None:
    """Write an epoch to the log that the driver reads; in a worker group, save a checkpoint."""
    if job.training.workers:
        _save_checkpoint(epoch, state)
    if train.get_context().get_world_rank() == 0:
        EpochLog(job.storage, job.folder).write(epoch)


def _save_checkpoint(epoch: Epoch, state: Callable[[], Tensors]) -> None:
    """Report an epoch to Ray Train, with what is needed to resume after it."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if train.get_context().get_world_rank() == 0:
            save_file(state(), f"{folder}/{CHECKPOINT}")
            checkpoint = Checkpoint.from_directory(folder)
        train.report(asdict(epoch), checkpoint=checkpoint)


def _checkpoint() -> Tensors | None:
    """Return the state of the last checkpoint, if a worker group before was lost."""
    checkpoint = train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return load_file(f"{folder}/{CHECKPOINT}")


def _store(
    job: FitJob,
    model: Specialist,
    held_out_NC: torch.Tensor,
    examples: Examples,
    report: FitReport,
) -> None:
    """Store a specialist and the report on it: of a worker group, Train hands back no numbers."""
    write_held_out(job.storage, job.folder, held_out_NC, examples, len(examples))
    job.storage.write_json(f"{job.folder}/config.json", job.specialist.model_dump())
    model.save(job.storage, job.folder)
    job.storage.write_record(f"{job.folder}/report.json", report)


def _sample_weights(job: FitJob, examples: Examples) -> FloatArray:
    """Weigh examples by how far people agree and by the domain of expertise; real ones: mean one.

    benchmarks/consensus.py tells what agreement brings.
    """
    own_N = np.isin(examples.domains_N, job.specialist.domain or examples.domains_N)
    domain_N = np.where(own_N, 1.0, job.training.outside_weight).astype(np.float32)
    weights_N = domain_N * np.maximum(examples.agreement_N, np.float32(MIN_AGREEMENT))
    scaled_N: FloatArray = weights_N / weights_N[: len(examples.real)].mean()
    return scaled_N if examples.synthetic is None else scaled_N * examples.synthetic.weights_N


def _folds(job: FitJob, examples: Examples) -> IntArray:
    """Deal examples into folds by id: the same for all specialists, whatever else is labeled."""
    n_folds = min(job.training.folds, len(examples))
    ids_N = examples.ids_N if examples.synthetic is None else examples.synthetic.origins_N
    return (uniform(ids_N, job.seed, "folds") * n_folds).astype(np.int64)
