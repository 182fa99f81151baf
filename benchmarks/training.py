"""What does Ray Train cost beside the plain loop?

    python -m benchmarks.training [--quick] [--check] [--repeats 3]

Fine-tunes the top two layers of MiniLM on questions by the loop of the product: in a plain process,
and in worker groups of Ray Train with one and two workers, in turns. Each process has one thread.
All start from the same seed, so that the curves of the training loss can be compared; two workers
draw their dropout apart, and so differ a little.

Speeds are those within the epochs, without each fit's first one: a new process is slow at first.
`startup_s` is all that a worker group takes beside that: starting, importing, loading the network,
checkpoints, storing, and its end. Two workers need two idle cores.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.cost import PlainProcess
from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.sets import questions, sentence_encoder
from benchmarks.specialists import labeled_examples
from umc_ray.cluster.resources import ANY_NODE
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.identity import uniform
from umc_ray.specialists.epochs import EpochLog
from umc_ray.specialists.fine_tuned import FineTuned
from umc_ray.specialists.specialist import Epoch, Examples, FitJob
from umc_ray.specialists.training import train_specialist
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

CPUS = 2
PLAIN, ONE, TWO = 0, 1, 2
"""Workers; none: a plain process."""


@dataclass(frozen=True)
class Measured:
    """A fit: its speed in samples/s, the losses of its epochs, and the seconds beside them."""

    speed: float
    losses: tuple[float, ...]
    rest_s: float


def run(options: Options) -> Report:
    """Measure the plain loop and both worker groups in turns."""
    size, epochs = (48, 1) if options.quick else (300, 2)
    found: dict[int, list[Measured]] = {PLAIN: [], ONE: [], TWO: []}
    # Ray's workers are nicer than their driver, which counts on a busy machine.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray's name
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        job, data = _work(Storage(folder), size, epochs)
        with local_ray(CPUS), PlainProcess() as process:
            for repeat in range(options.repeats):
                order = (PLAIN, ONE, TWO) if repeat % 2 == 0 else (TWO, ONE, PLAIN)
                for workers in order:
                    named = replace(job, folder=f"models/t/{repeat:04d}/with-{workers}")
                    if workers:
                        found[workers].append(in_group(named, data, workers))
                        continue
                    # Meanwhile Ray's processes start or end, which takes the CPUs for seconds.
                    process.pool.submit(in_process, named, data).result()
                    found[PLAIN].append(process.pool.submit(in_process, named, data).result())
    workload = {"samples": size, "epochs at most": epochs, "folds": 3, "seed": 0, "CPUs": CPUS}
    return Report(workload, _figures(found[PLAIN], found[ONE], found[TWO]))


def _figures(
    plain: Sequence[Measured], one: Sequence[Measured], two: Sequence[Measured]
) -> dict[str, Figure]:
    groups = [*one, *two]
    return {
        "plain_samples_per_s": Figure("samples/s", [each.speed for each in plain]),
        "one_samples_per_s": Figure("samples/s", [each.speed for each in one]),
        "two_samples_per_s": Figure("samples/s", [each.speed for each in two]),
        "one_ratio": Figure("of plain", _ratios(one, plain)),
        "two_ratio": Figure("of one worker", _ratios(two, one)),
        "startup_s": Figure("s", [each.rest_s for each in groups]),
        "plain_startup_s": Figure("s", [each.rest_s for each in plain]),
        "one_loss_difference": Figure("nats", _differences(one, plain)),
        "two_loss_difference": Figure("nats", _differences(two, plain)),
    }


def _ratios(those: Sequence[Measured], others: Sequence[Measured]) -> list[float]:
    return [each.speed / other.speed for each, other in zip(those, others, strict=True)]


def _differences(those: Sequence[Measured], others: Sequence[Measured]) -> list[float]:
    """Return the largest difference of two curves, where both have an epoch."""
    return [
        max(abs(a - b) for a, b in zip(each.losses, other.losses, strict=False))
        for each, other in zip(those, others, strict=True)
    ]


def _work(storage: Storage, size: int, epochs: int) -> tuple[FitJob, Examples]:
    rows = list(dict.fromkeys(questions()))
    order = np.random.default_rng(0).permutation(len(rows))[:size]
    texts, labels = zip(*(rows[row] for row in order), strict=True)
    kind = Classification(tuple(sorted({label for _, label in rows})))
    data = replace(labeled_examples(kind, {}, labels, np.arange(size)), payloads_N=texts)
    config = SpecialistConfig(kind="top_layers", encoder="e", epochs=epochs)
    encoder = sentence_encoder()
    return FitJob(config, kind, storage, "", None, 0, TrainingConfig(), encoder), data


def in_process(job: FitJob, data: Examples) -> Measured:
    """Fit in this process, in one thread, and store the network."""
    torch.set_num_threads(1)
    epochs: list[Epoch] = []
    job = replace(job, on_epoch=lambda epoch, _: epochs.append(epoch))
    folds_N = (uniform(data.ids_N, job.seed, "folds") * job.training.folds).astype(np.int64)
    began = time.perf_counter()
    fitted, _, _ = FineTuned.fit(job, data, data.agreement_N, folds_N, "cpu")
    fitted.save(job.storage, job.folder)
    return _measured(epochs, time.perf_counter() - began)


def in_group(job: FitJob, data: Examples, workers: int) -> Measured:
    """Fit in a worker group of Ray Train."""
    job = replace(job, training=TrainingConfig(workers=workers))
    began = time.perf_counter()
    train_specialist(job, data, ANY_NODE)
    seconds = time.perf_counter() - began
    return _measured(EpochLog(job.storage, job.folder).new(), seconds)


def _measured(epochs: Sequence[Epoch], seconds: float) -> Measured:
    warm = epochs[1:]
    speed = sum(each.samples for each in warm) / sum(e.samples / e.samples_per_s for e in warm)
    rest_s = seconds - sum(each.samples for each in epochs) / speed
    return Measured(speed, tuple(each.loss for each in epochs), rest_s)


if __name__ == "__main__":
    main("training", __doc__, run, repeats=3)
