"""What do many domains cost in training, and are experts for all of them worth it?

    python -m benchmarks.many_domains [--quick] [--check] [--repeats 3]

`specialists: per_domain` on 200 domains of unequal size, trained by the code of the product on a
local Ray: a generalist, and experts for the domains with the most labels: none, as many as the
product trains by default, 64, or all. CPU seconds of all processes for a round of training, and
log-loss and accuracy of the ensembles on samples of the same domains. Domains lie apart, and each
moves the classes by itself.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.cost import Meter
from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.task import TaskConfig
from umc_ray.specialists import experts, training
from umc_ray.specialists.combination import EnsembleJob
from umc_ray.specialists.ensemble import load_ensemble
from umc_ray.specialists.specialist import Examples
from umc_ray.storage import Storage

CPUS = 2
DOMAINS, CLASSES, DIMENSIONS, DIRECTIONS = 200, 4, 384, 40
LABELS, TESTS = 2000, 4000
ENCODER = "given"
EXPERTS = {"none": 0, "default": experts.MOST_EXPERTS, "64": 64, "all": DOMAINS}
QUICK = {"none": 0, "default": experts.MOST_EXPERTS}


@dataclass(frozen=True)
class Drawn:
    """Samples of all domains."""

    x_ND: npt.NDArray[np.float32]
    y_N: npt.NDArray[np.int64]
    domains_N: npt.NDArray[np.int64]


def run(options: Options) -> Report:
    """Train with each number of experts."""
    figures: dict[str, list[float]] = {}
    arms = QUICK if options.quick else EXPERTS
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder, local_ray(CPUS):
        storage, warm = Storage(folder), draw(0, 200)
        with at_most(1):
            measured(storage, warm, warm, "warm")
        for seed in range(options.repeats):
            labeled, tests = draw(seed, LABELS), draw(seed, TESTS, of_pool=1)
            for name, most in arms.items():
                with at_most(most):
                    found = measured(storage, labeled, tests, f"{seed}-{name}")
                for figure, value in found.items():
                    figures.setdefault(f"{figure}/{name}", []).append(value)
    if not options.quick:
        by_default, with_all = (
            {name: np.array(figures[f"{name}/{arm}"]) for name in ("cpu_s", "log_loss")}
            for arm in ("default", "all")
        )
        figures["cpu_ratio"] = (by_default["cpu_s"] / with_all["cpu_s"]).tolist()
        figures["log_loss_lost"] = (by_default["log_loss"] - with_all["log_loss"]).tolist()
    units = {"cpu_s": "CPU s", "accuracy": "on tests", "cpu_ratio": "of all"}
    return Report(
        {"domains": DOMAINS, "classes": CLASSES, "labels": LABELS, "CPUs": CPUS},
        {
            name: Figure(units.get(name.partition("/")[0], "nats"), values)
            for name, values in figures.items()
        },
    )


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """Train at most so many experts."""
    with patch.object(experts, "MOST_EXPERTS", most):
        yield


def draw(seed: int, n: int, of_pool: int = 0) -> Drawn:
    """Draw samples: the k-th largest domain has a share of 1/k of the largest one's."""
    fixed, rng = np.random.default_rng(seed), np.random.default_rng([seed, of_pool, n])
    basis_KD = fixed.normal(size=(DIRECTIONS, DIMENSIONS)) / np.sqrt(DIRECTIONS)
    classes_CK = fixed.normal(size=(CLASSES, DIRECTIONS))
    own_SCK = 1.0 * fixed.normal(size=(DOMAINS, CLASSES, DIRECTIONS))
    apart_SK = fixed.normal(size=(DOMAINS, DIRECTIONS))
    share_S = 1 / np.arange(1, DOMAINS + 1)
    domains_N = rng.choice(DOMAINS, size=n, p=share_S / share_S.sum())
    y_N = rng.integers(0, CLASSES, n)
    centers_NK = classes_CK[y_N] + own_SCK[domains_N, y_N] + apart_SK[domains_N]
    spread_NK = 4.0 * rng.normal(size=(n, DIRECTIONS))
    noise_ND = 0.3 * rng.normal(size=(n, DIMENSIONS))
    x_ND = ((centers_NK + spread_NK) @ basis_KD + noise_ND).astype(np.float32)
    return Drawn(x_ND, y_N, domains_N)


def measured(storage: Storage, labeled: Drawn, tests: Drawn, name: str) -> dict[str, float]:
    """Train an ensemble, and judge it on samples of the same domains."""
    task, data = task_of(), examples(labeled)
    with Meter() as meter:
        job = EnsembleJob(task, data, f"models/{name}/0001", None)
        (trained,) = training.train_ensembles([job], TrainingConfig(), storage, seed=0)
        seconds = meter.seconds()
    ensemble = load_ensemble(storage, trained.ref, task.task_kind())
    losses, hits = [], []
    for domain in np.unique(tests.domains_N):
        own = tests.domains_N == domain
        mean_NC = ensemble.measures({ENCODER: tests.x_ND[own]}, name_of(domain)).mean_NC
        y = torch.from_numpy(tests.y_N[own])
        losses += task.task_kind().log_loss(mean_NC, y).tolist()
        hits += (mean_NC.argmax(1) == y).tolist()
    return {
        "cpu_s": seconds,
        "log_loss": float(np.mean(losses)),
        "accuracy": float(np.mean(hits)),
    }


def task_of() -> TaskConfig:
    """Return a task of many domains."""
    return TaskConfig.model_validate(
        {
            "kind": "classification",
            "labels": [f"class {number}" for number in range(CLASSES)],
            "encoder": {"kind": ENCODER, "dimension": DIMENSIONS},
            "domains": {
                name_of(number): {"source": "x", "text": "t", "embedding": "e"}
                for number in range(DOMAINS)
            },
            "specialists": "per_domain",
        }
    )


def name_of(domain: int) -> str:
    """Name a domain."""
    return f"domain{domain}"


def examples(drawn: Drawn) -> Examples:
    """Return samples as the product learns from them."""
    kind, n = task_of().task_kind(), len(drawn.y_N)
    texts = tuple(f"class {number}" for number in drawn.y_N)
    ones = np.ones(n, np.float32)
    return Examples(
        texts_N=texts,
        targets=kind.encode(texts),
        features={ENCODER: drawn.x_ND},
        domains_N=np.array([name_of(number) for number in drawn.domains_N]),
        ids_N=np.arange(n),
        audit_N=ones > 0,
        random_N=ones > 0,
        rounds_N=np.ones(n, np.int64),
        agreement_N=ones,
    )


if __name__ == "__main__":
    main("many_domains", __doc__, run, repeats=3)
