"""Which specialists suit the rows of a table?

    python -m benchmarks.tables [--quick] [--check] [--repeats 5]

The encoder and the trees were tuned on three sets: incomes (Adult: numbers and categories),
satellite images and letters (numbers only). Six other sets were read only once they were done.
The encoder `table` learns from up to 6,000 rows without labels. A linear head, an MLP, trees, and
the mean of the linear head and the trees, which is the default, learn from 100, 300 and 1,000
rows drawn at random, calibrated as in the product. They are compared with what was to be done
without that encoder: a linear head on standardized and one-hot columns with random Fourier
features. `unit length` are the same heads and trees on embeddings that are scaled to length one,
as those of other encoders are. Accuracy and log-loss on up to 3,000 other rows, paired by seed;
CPU seconds of a fit on one thread.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import Labeled, fourier_features, incomes, records
from benchmarks.specialists import Scores, empty_table, labeled_examples, scores
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders import table as table_encoder
from umc_ray.encoders.encoder import unit_length
from umc_ray.ingest.table_rows import row_text
from umc_ray.methods.identity import uniform
from umc_ray.records import FloatArray, IntArray
from umc_ray.specialists.registry import SPECIALISTS
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

TUNED: Mapping[str, Callable[[], list[Labeled]]] = {
    "income/adult": lambda: incomes()[0],
    "land/satellite": lambda: records("satimage"),
    "letters/fonts": lambda: records("letter"),
}
FRESH: Mapping[str, Callable[[], list[Labeled]]] = {
    "gamma/magic": lambda: records("magic"),
    "spam/base": lambda: records("spambase"),
    "surfaces/texture": lambda: records("texture"),
    "genes/splice": lambda: records("splice"),
    "incomes/marketing": lambda: records("marketing"),
    "mushrooms": lambda: records("mushroom"),
}
SETS = {**TUNED, **FRESH}
SIZES = (100, 300, 1000)
POOL, TESTS, FOLDS = 6000, 3000, 5
BEFORE, DEFAULT = "fourier, linear", "linear and trees"
MEMBERS = {
    BEFORE: ("fourier", "linear"),
    "linear": ("table", "linear"),
    "mlp": ("table", "mlp"),
    "trees": ("table", "trees"),
    "unit length, linear": ("unit", "linear"),
    "unit length, trees": ("unit", "trees"),
}
"""The features and the kind of each specialist."""


def run(options: Options) -> Report:
    """Fit and score all specialists on all sets."""
    torch.set_num_threads(1)
    names = ["income/adult"] if options.quick else list(SETS)
    sizes = SIZES[:1] if options.quick else SIZES
    figures, table = dict[str, Figure](), empty_table("specialist")
    for name in names:
        rows = SETS[name]()
        chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:POOL])
        payloads, labels = zip(*(rows[row] for row in chosen), strict=True)
        features = _features(payloads)
        for size in sizes:
            found, seconds = _measure(features, labels, size, options.repeats)
            for specialist, each in found.items():
                shown = [f"{value:.3f}" for value in np.mean(each, axis=0)]
                table.add_row(name, str(size), specialist, *shown, f"{seconds[specialist]:.2f}")
            for specialist in ("linear", "mlp", "trees", DEFAULT):
                gains = np.array(found[specialist]) - np.array(found[BEFORE])
                key = f"{specialist.replace(' ', '_')}/{name}/{size}"
                figures[key] = Figure("accuracy over fourier, linear", gains[:, 0].tolist())
            for kind in ("linear", "trees"):
                gains = np.array(found[kind]) - np.array(found[f"unit length, {kind}"])
                key = f"{kind}_as_is/{name}/{size}"
                figures[key] = Figure("accuracy over unit length", gains[:, 0].tolist())
    workload = {"sets": len(names), "labels": list(sizes), "seeds": options.repeats}
    return Report(workload, figures, tables=[table])


def _features(payloads: Sequence[tuple[object, ...]]) -> dict[str, FloatArray]:
    """Encode the rows as the product does, and as it was done before."""
    columns = [f"column {i}" for i in range(len(payloads[0]))]
    texts = [row_text(columns, dict(zip(columns, row, strict=True))) for row in payloads]
    encoder = table_encoder.Table.learned(texts)
    table_ND = encoder.encode([encoder.prepare(text) for text in texts]).astype(np.float32)
    unit_ND = unit_length(torch.from_numpy(table_ND))
    fourier_ND = unit_length(torch.from_numpy(fourier_features(payloads)))
    return {
        "table": table_ND,
        "unit": unit_ND.astype(np.float32),
        "fourier": fourier_ND.astype(np.float32),
    }


def _measure(
    features: Mapping[str, FloatArray], labels: Sequence[str], size: int, seeds: int
) -> tuple[dict[str, list[Scores]], dict[str, float]]:
    """Return the scores of each specialist, and the CPU seconds of a fit."""
    kind = Classification(tuple(sorted(set(labels))))
    found: dict[str, list[Scores]] = {name: [] for name in (*MEMBERS, DEFAULT)}
    seconds: dict[str, float] = {}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(labels))
        known, tests = order[:size], order[size:][-TESTS:]
        examples = labeled_examples(kind, features, labels, known)
        targets_N = kind.strata([labels[row] for row in tests])
        probs: dict[str, FloatArray] = {}
        for name, (encoder, specialist) in MEMBERS.items():
            began = time.process_time()
            probs[name] = _fitted(kind, examples, specialist, encoder, features[encoder][tests])
            seconds[name] = time.process_time() - began
        probs[DEFAULT] = np.mean([probs["linear"], probs["trees"]], axis=0, dtype=np.float32)
        seconds[DEFAULT] = seconds["linear"] + seconds["trees"]
        for name, probs_NC in probs.items():
            found[name].append(scores(probs_NC, targets_N))
    return found, seconds


def _fitted(
    kind: Classification, examples: Examples, specialist: str, encoder: str, tests_ND: FloatArray
) -> FloatArray:
    """Fit and calibrate a specialist; returns its probabilities of the tests."""
    config = SpecialistConfig.model_validate({"kind": specialist, "encoder": encoder})
    job = FitJob(config, kind, Storage("."), "", None, 0, TrainingConfig())
    folds_N: IntArray = (uniform(examples.ids_N, 0, "folds") * FOLDS).astype(np.int64)
    family, weights_N = SPECIALISTS[specialist], examples.agreement_N
    member, held_out_NC, _ = family.fit(job, examples, weights_N, folds_N, "cpu")
    calibration = kind.calibrate(held_out_NC, examples.targets, weights_N)
    outputs_NC = family.together([member])(torch.from_numpy(tests_ND))
    probs_NC: FloatArray = kind.activation([calibration])(outputs_NC)[0].numpy()
    return probs_NC


if __name__ == "__main__":
    main("tables", __doc__, run, repeats=5)
