"""What do many classes cost, in training a head, in deciding on an ensemble, and in scoring?

    python -m benchmarks.many_classes [--quick] [--check] [--repeats 3]

Heads over 384 numbers, with three samples a class, at least 300, by the code of the product: CPU
seconds of a cross-validated fit, those of what held-out predictions of three specialists in two
domains decide, and rows per CPU second that the three score, with 10, 300 and 1,000 classes. Beside
it what the same fit costs and is worth with all heads of the cross-validation side by side, as with
few classes. Samples are drawn around centers on 40 directions, so that classes overlap. One thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.specialists import labeled_examples
from umc_ray.methods import heads
from umc_ray.methods.identity import uniform
from umc_ray.specialists.combination import Evidence
from umc_ray.tasks.classification import Classification

CLASSES, QUICK = (10, 300, 1000), (10, 100)
DIMENSIONS, DIRECTIONS, TESTS, FOLDS = 384, 40, 3000, 5
A_CLASS, AT_LEAST = 3, 300
ROWS, BATCH, SPECIALISTS = 8192, 2048, 3


Done = TypeVar("Done")


@dataclass(frozen=True)
class Drawn:
    """Samples of some classes, and others to test on."""

    x_ND: npt.NDArray[np.float32]
    y_N: npt.NDArray[np.int64]
    test_ND: npt.NDArray[np.float32]
    truth_N: npt.NDArray[np.int64]


def run(options: Options) -> Report:
    """Train and score with each number of classes."""
    torch.set_num_threads(1)
    drawn = draw(4, 0)
    score(fit(drawn, 4), drawn, 4)  # warms up
    sizes, found = QUICK if options.quick else CLASSES, dict[str, list[float]]()
    for seed in range(options.repeats):
        for classes in sizes:
            for name, value in measured(classes, seed).items():
                found.setdefault(name, []).append(value)
    few, many = (np.array(found[f"scored/{classes}"]) for classes in (sizes[0], sizes[-1]))
    figures = {name: Figure(_unit(name), values) for name, values in found.items()}
    figures["scoring_many_over_few"] = Figure("of its rows/s", (many / few).tolist())
    return Report({"classes": list(sizes), "specialists": SPECIALISTS}, figures)


def _unit(name: str) -> str:
    units = {
        "scored": "rows per CPU s",
        "accuracy": "on tests",
        "side_by_side_accuracy": "on tests",
    }
    return units.get(name.partition("/")[0], "CPU s")


def measured(classes: int, seed: int) -> dict[str, float]:
    """Fit in both ways, and score."""
    drawn = draw(classes, seed)
    seconds, found = timed(lambda: fit(drawn, classes))
    with patch.object(heads, "LARGE", np.inf):
        beside, before = timed(lambda: fit(drawn, classes))
    return {
        f"fit/{classes}": seconds,
        f"accuracy/{classes}": accuracy(found, drawn),
        f"side_by_side/{classes}": beside,
        f"side_by_side_accuracy/{classes}": accuracy(before, drawn),
        f"decided/{classes}": timed(lambda: decide(found, drawn, classes))[0],
        f"scored/{classes}": ROWS / timed(lambda: score(found, drawn, classes))[0],
    }


def draw(classes: int, seed: int) -> Drawn:
    """Draw samples around the centers of classes."""
    rng, n = np.random.default_rng(seed), max(A_CLASS * classes, AT_LEAST)
    basis_KD = rng.normal(size=(DIRECTIONS, DIMENSIONS)) / np.sqrt(DIRECTIONS)
    centers_CD = rng.normal(size=(classes, DIRECTIONS)) @ basis_KD
    y_N = rng.integers(0, classes, n + TESTS)
    spread_ND = 1.25 * rng.normal(size=(len(y_N), DIRECTIONS)) @ basis_KD
    noise_ND = 0.3 * rng.normal(size=spread_ND.shape)
    x_ND = (centers_CD[y_N] + spread_ND + noise_ND).astype(np.float32)
    return Drawn(x_ND[:n], y_N[:n], x_ND[n:], y_N[n:])


def fit(drawn: Drawn, classes: int) -> heads.Fit:
    """Fit a linear head, its penalty by cross-validation."""
    n = len(drawn.x_ND)
    return heads.fit(
        drawn.x_ND,
        drawn.y_N,
        np.ones(n, np.float32),
        (uniform(np.arange(n), 0, "folds") * FOLDS).astype(np.int64),
        heads.start("linear", 1, DIMENSIONS, classes, 0, 0),
        kind_of(classes).loss,
    )


def decide(found: heads.Fit, drawn: Drawn, classes: int) -> None:
    """Weigh three specialists, of which each errs for itself, and judge them together."""
    kind, n = kind_of(classes), len(drawn.y_N)
    rng, ones_N = np.random.default_rng(0), np.ones(n, np.float32)
    noise_SNC = rng.normal(size=(SPECIALISTS, n, classes)).astype(np.float32)
    outputs_SNC = torch.from_numpy(found.held_out_NC + noise_SNC)
    probs_SNC = kind.activation([{"temperature": 1.0}] * SPECIALISTS)(outputs_SNC)
    labels = tuple(kind.labels[i] for i in drawn.y_N)
    examples = labeled_examples(kind, {}, labels, np.arange(n))
    domains_N = np.where(np.arange(n) % 2, "odd", "even")
    evidence = Evidence(kind, replace(examples, domains_N=domains_N), ones_N)
    evidence.decision(probs_SNC)
    evidence.answers(probs_SNC)


def score(found: heads.Fit, drawn: Drawn, classes: int) -> None:
    """Score rows as a pass does, with equal specialists."""
    kind, x_ND = kind_of(classes), torch.from_numpy(np.resize(drawn.test_ND, (ROWS, DIMENSIONS)))
    members = {name: torch.cat([each] * SPECIALISTS) for name, each in found.parameters.items()}
    activation = kind.activation([{"temperature": 1.0}] * SPECIALISTS)
    for start in range(0, ROWS, BATCH):
        batch_ND = x_ND[start : start + BATCH]
        measures = kind.measures(activation(heads.forward(members, batch_ND)), {})
        kind.prediction_columns(measures, {})


def kind_of(classes: int) -> Classification:
    """Return a task with so many classes."""
    return Classification(tuple(f"class {number}" for number in range(classes)))


def accuracy(found: heads.Fit, drawn: Drawn) -> float:
    """Return the accuracy on other samples."""
    outputs_NC = heads.forward(found.parameters, torch.from_numpy(drawn.test_ND))[0]
    return float((outputs_NC.argmax(1).numpy() == drawn.truth_N).mean())


def timed(work: Callable[[], Done]) -> tuple[float, Done]:
    """Return the CPU seconds of some work, and what it returns."""
    began = time.process_time()
    done = work()
    return time.process_time() - began, done


if __name__ == "__main__":
    main("many_classes", __doc__, run, repeats=3)
