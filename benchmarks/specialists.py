"""Which specialists make the best ensemble where a task has two encoders?

    python -m benchmarks.specialists [--quick] [--check] [--repeats 5]

Texts (static vectors and MiniLM) and images (EfficientNet-Lite0 and gradients). Heads learn from
100, 300 and 1,000 samples drawn at random, calibrated on their own held-out outputs as in the
product: one head for each encoder, and one over both side by side. Two and all three of them are
combined as in the product (stacked: weighed and sharpened by held-out outputs) and by the plain
mean. Accuracy, log-loss and calibration error on up to 1,500 other samples, paired by seed; CPU
seconds of a fit on one thread. The best single encoder of a set is chosen in hindsight.

A calibration error is never 0 on so few samples. "If exact" is the one of the same probabilities if
they held exactly: labels are drawn from them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.table import Table
from torch import Tensor

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import (
    Labeled,
    clipart,
    garments,
    messages,
    questions,
    sentence_encoder,
    sentiment_texts,
    silhouettes,
    word_encoder,
)
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.demo.fetch import cache_dir
from umc_ray.demo.models import chosen_models, prepare_model
from umc_ray.encoders.registry import load_encoder
from umc_ray.methods.calibration import reliability
from umc_ray.methods.identity import uniform
from umc_ray.passes.encode import encode_rows
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.combination import Evidence
from umc_ray.specialists.heads import Head
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

SETS: Mapping[str, Callable[[], list[Labeled]]] = {
    "questions/trec": questions,
    "sentiment/amazon": lambda: sentiment_texts("amazon"),
    "spam/sms": messages,
    "drawings/clipart": clipart,
    "shapes/animals": silhouettes,
    "garments/fashion": garments,
}
SIZES = (100, 300, 1000)
MOST, TESTS, FOLDS = 2500, 1500, 5
SIDE_BY_SIDE = "side by side"
STACKED, STACKED_ALL = "stacked two", "stacked three"
MEAN, MEAN_ALL = "mean of two", "mean of three"
PRODUCTS, MEANS = (SIDE_BY_SIDE, STACKED, STACKED_ALL), (MEAN, MEAN_ALL)
ENSEMBLES = (*PRODUCTS, *MEANS)
DRAWS = 20
"""Of labels, for the calibration error of probabilities that hold exactly."""

Scores = tuple[float, float, float, float]
"""Accuracy, log-loss, expected calibration error, and what that would be if all held exactly."""


def run(options: Options) -> Report:
    """Fit and score all ensembles on all sets."""
    torch.set_num_threads(1)
    names = ["spam/sms"] if options.quick else list(SETS)
    sizes = SIZES[:1] if options.quick else SIZES
    figures, table = dict[str, Figure](), empty_table("ensemble")
    for name in names:
        found, seconds = _measure(SETS[name](), sizes, options.repeats)
        for size in sizes:
            for ensemble, scores in found[size].items():
                row = [f"{each:.3f}" for each in np.mean(scores, axis=0)]
                table.add_row(name, str(size), ensemble, *row, f"{seconds[ensemble]:.2f}")
        figures |= _figures(name, found)
    for what in ("calibration_error", "error_of_plain_means"):
        worst = [figures[f"{what}/{name}"].median for name in names]
        figures[f"largest_{what}"] = Figure("of all sets", [max(worst)])
    workload = {"sets": len(names), "labels": list(sizes), "seeds": options.repeats}
    return Report(workload, figures, tables=[table])


def _figures(name: str, found: Mapping[int, Mapping[str, Sequence[Scores]]]) -> dict[str, Figure]:
    """Summarize a set: what each ensemble gains, and the largest calibration errors."""
    figures: dict[str, Figure] = {}
    for ensemble in ENSEMBLES:
        key = f"{ensemble.replace(' ', '_')}/{name}"
        gains = [_gain(each, ensemble) for each in found.values()]
        figures[key] = Figure("accuracy over the best single", np.mean(gains, axis=0).tolist())
    for what, ensembles in (("calibration_error", PRODUCTS), ("error_of_plain_means", MEANS)):
        means = [np.mean(each[e], axis=0)[2] for each in found.values() for e in ensembles]
        figures[f"{what}/{name}"] = Figure("largest of its sizes", [float(max(means))])
    return figures


def _gain(found: Mapping[str, Sequence[Scores]], ensemble: str) -> list[float]:
    """Return by how much an ensemble is more accurate than the best single encoder, by seed."""
    accuracy = {name: np.array(scores)[:, 0] for name, scores in found.items()}
    singles = [name for name in accuracy if name not in ENSEMBLES]
    best = max(singles, key=lambda name: float(accuracy[name].mean()))
    gains: list[float] = (accuracy[ensemble] - accuracy[best]).tolist()
    return gains


def empty_table(what: str) -> Table:
    """Return a table for the scores of what is compared, and for what a fit costs."""
    table = Table(title="means over seeds")
    for name in ("set", "labels", what, "accuracy", "log-loss", "ECE", "if exact", "CPU s a fit"):
        table.add_column(name)
    return table


def _measure(
    rows: Sequence[Labeled], sizes: Sequence[int], seeds: int
) -> tuple[dict[int, dict[str, list[Scores]]], dict[str, float]]:
    """Return the scores by number of labels and ensemble, and the CPU seconds of a fit."""
    chosen = np.random.default_rng(0).permutation(len(rows))[:MOST]
    payloads, labels = zip(*(rows[row] for row in chosen), strict=True)
    kind = Classification(tuple(sorted(set(labels))))
    features = {name: embed(config, payloads) for name, config in two_encoders(payloads[0]).items()}
    found: dict[int, dict[str, list[Scores]]] = {size: {} for size in sizes}
    seconds: dict[str, float] = {}
    for size in sizes:
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(labels))
            known, tests = order[:size], order[size : size + TESTS]
            examples = labeled_examples(kind, features, labels, known)
            targets_N = kind.strata([labels[row] for row in tests])
            probs = _probabilities(
                kind, examples, {k: x[tests] for k, x in features.items()}, seconds
            )
            for ensemble, probs_NC in probs.items():
                found[size].setdefault(ensemble, []).append(scores(probs_NC, targets_N))
    return found, seconds


def two_encoders(payload: object) -> dict[str, EncoderConfig]:
    """Return the encoders of texts or of images by their names, the better one first."""
    if isinstance(payload, str):
        return {"MiniLM": sentence_encoder(), "static vectors": word_encoder()}
    (weights,) = chosen_models(["efficientnet-lite0"])
    path = str(prepare_model(weights, cache_dir()))
    pretrained = EncoderConfig(kind="efficientnet_lite", path=path, image_px=96)
    return {"EfficientNet": pretrained, "gradients": EncoderConfig(kind="gradients")}


def embed(config: EncoderConfig, payloads: Sequence[str | bytes]) -> FloatArray:
    """Return the embeddings of payloads."""
    half_ND, _ = encode_rows(load_encoder(config), payloads, config.batch_size)
    return half_ND.astype(np.float32)


def labeled_examples(
    kind: Classification,
    features: Mapping[str, FloatArray],
    labels: Sequence[str],
    known: npt.NDArray[np.intp],
) -> Examples:
    """Return the samples whose labels are known."""
    texts, ones = tuple(labels[row] for row in known), np.ones(len(known), np.float32)
    return Examples(
        texts_N=texts,
        targets=kind.encode(texts),
        features={name: x_ND[known] for name, x_ND in features.items()},
        domains_N=np.array(["all"] * len(known)),
        ids_N=known.astype(np.int64),
        audit_N=ones > 0,
        random_N=ones > 0,
        rounds_N=np.ones(len(known), np.int64),
        agreement_N=ones,
    )


@dataclass(frozen=True)
class Fitted:
    """The calibrated probabilities of a head, or of an ensemble of heads."""

    held_out_NC: Tensor
    tests_NC: Tensor


def _probabilities(
    kind: Classification,
    examples: Examples,
    tests: Mapping[str, FloatArray],
    seconds: dict[str, float],
) -> dict[str, FloatArray]:
    """Fit the heads; return what each ensemble says of the tests."""
    members = {**{name: [name] for name in tests}, SIDE_BY_SIDE: list(tests)}
    heads: dict[str, Fitted] = {}
    for name, encoders in members.items():
        began = time.process_time()
        heads[name] = _fitted(kind, examples, encoders, tests)
        seconds[name] = time.process_time() - began
    probs = {name: head.tests_NC.numpy() for name, head in heads.items()}
    for stacked, mean, names in (
        (STACKED, MEAN, list(tests)),
        (STACKED_ALL, MEAN_ALL, list(members)),
    ):
        parts = [heads[name] for name in names]
        seconds[mean] = sum(seconds[name] for name in names)
        began = time.process_time()
        probs[stacked] = _stacked(kind, examples, parts)
        seconds[stacked] = seconds[mean] + time.process_time() - began
        probs[mean] = torch.stack([part.tests_NC for part in parts]).mean(0).numpy()
    return probs


def _stacked(kind: Classification, examples: Examples, parts: Sequence[Fitted]) -> FloatArray:
    """Combine heads as the product does; returns probabilities of the tests."""
    evidence = Evidence(kind, examples, examples.agreement_N)
    decision = evidence.decision(torch.stack([part.held_out_NC for part in parts]))
    tests_SNC = torch.stack([part.tests_NC for part in parts])
    probs_NC: FloatArray = kind.measures(tests_SNC, decision).mean_NC.numpy()
    return probs_NC


def _fitted(
    kind: Classification,
    examples: Examples,
    encoders: list[str],
    tests: Mapping[str, FloatArray],
) -> Fitted:
    """Fit and calibrate a head as the product does."""
    config = SpecialistConfig(encoder=encoders)
    job = FitJob(config, kind, Storage("."), "", None, 0, TrainingConfig())
    folds_N = (uniform(examples.ids_N, 0, "folds") * FOLDS).astype(np.int64)
    head, held_out_NC, _ = Head.fit(job, examples, examples.agreement_N, folds_N, "cpu")
    activate = kind.activation(
        [kind.calibrate(held_out_NC, examples.targets, examples.agreement_N)]
    )
    x_ND = torch.from_numpy(np.concatenate([tests[name] for name in encoders], axis=1))
    outputs = torch.from_numpy(held_out_NC)[None], Head.together([head])(x_ND)
    return Fitted(*(activate(each)[0] for each in outputs))


def scores(probs_NC: FloatArray, targets_N: IntArray) -> Scores:
    """Hold probabilities against the labels."""
    right_N = probs_NC.argmax(1) == targets_N
    likely_N = np.maximum(probs_NC[np.arange(len(targets_N)), targets_N], 1e-9)
    error = reliability(probs_NC.max(1), right_N).error()
    loss = float(-np.log(likely_N).mean())
    return float(right_N.mean()), loss, float(error), _error_if_exact(probs_NC.max(1))


def _error_if_exact(confidence_N: FloatArray) -> float:
    """Return the mean calibration error of confidence that holds exactly, on so many samples."""
    draw = np.random.default_rng(0)
    rights = (draw.random(len(confidence_N)) < confidence_N for _ in range(DRAWS))
    return float(np.mean([reliability(confidence_N, right_N).error() for right_N in rights]))


if __name__ == "__main__":
    main("specialists", __doc__, run, repeats=5)
