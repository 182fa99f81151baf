"""What does fine-tuning gain over a head on the frozen network, and what does it cost?

    python -m benchmarks.fine_tuning [--quick] [--check] [--repeats 3]

Short texts and MiniLM. Specialists learn from 100 and 300 samples drawn at random, by the code of
the product: a linear head on the frozen embeddings, the top two layers, low-rank updates (LoRA),
all parameters, and the ensemble of the head and the top layers, weighed by held-out predictions.
Accuracy, log-loss and calibration error on 1,000 other samples, paired by seed; CPU seconds of a
fit on one thread, its cross-validation included.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.table import Table

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import Labeled, questions, sentence_encoder, sentiment_texts
from benchmarks.specialists import Scores, embed, empty_table, labeled_examples
from benchmarks.specialists import scores as scores_of
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.encoder import Encoder
from umc_ray.methods.identity import uniform
from umc_ray.passes.encode import encode_rows
from umc_ray.records import FloatArray
from umc_ray.specialists.combination import Evidence
from umc_ray.specialists.fine_tuned import FineTuned, TunedRef
from umc_ray.specialists.heads import Head
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

SETS: Mapping[str, Callable[[], list[Labeled]]] = {
    "questions/trec": questions,
    "sentiment/amazon": lambda: sentiment_texts("amazon"),
    "sentiment/tweets": lambda: sentiment_texts("tweets"),
    "sentiment/movies": lambda: sentiment_texts("movies"),
}
SIZES, TESTS, FOLDS = (100, 300), 1000, 5
HEAD, TOP, BOTH = "head", "top layers", "head and top layers"
KINDS = {TOP: "top_layers", "LoRA": "lora", "all": "full"}
DEAR = ("LoRA", "all")
"""They take minutes: measured on the first set only, with the most labels and one seed."""


def run(options: Options) -> Report:
    """Fit and score all specialists on all sets."""
    torch.set_num_threads(1)
    names = ["questions/trec"] if options.quick else list(SETS)
    sizes = SIZES[:1] if options.quick else SIZES
    figures, table = dict[str, Figure](), empty_table("specialist")
    for name in names:
        rows = list(dict.fromkeys(SETS[name]()))
        for size in sizes:
            found: dict[str, list[tuple[Scores, float]]] = {}
            for seed in range(options.repeats):
                dear = not seed and size == max(SIZES) and name == next(iter(SETS))
                for specialist, result in _measure(rows, size, seed, dear).items():
                    found.setdefault(specialist, []).append(result)
            _add(table, figures, name, size, found)
    workload = {"sets": len(names), "labels": list(sizes), "seeds": options.repeats}
    return Report(workload, figures, tables=[table])


def _add(
    table: Table,
    figures: dict[str, Figure],
    name: str,
    size: int,
    found: Mapping[str, Sequence[tuple[Scores, float]]],
) -> None:
    heads = [scores[0] for scores, _ in found[HEAD]]
    for specialist, results in found.items():
        scores, seconds = zip(*results, strict=True)
        means = [f"{each:.3f}" for each in np.mean(scores, axis=0)]
        table.add_row(name, str(size), specialist, *means, f"{np.mean(seconds):.1f}")
        if specialist in (TOP, BOTH):
            gains = np.subtract([each[0] for each in scores], heads)
            key = f"{specialist.replace(' ', '_')}/{name}/{size}"
            figures[key] = Figure("accuracy over the head", gains.tolist())


def _measure(
    rows: Sequence[Labeled], size: int, seed: int, dear: bool
) -> dict[str, tuple[Scores, float]]:
    """Return the scores of each specialist, and the CPU seconds of its fit."""
    order = np.random.default_rng(seed).permutation(len(rows))
    texts, labels = zip(*(rows[row] for row in order[: size + TESTS]), strict=True)
    kind, config = Classification(tuple(sorted({label for _, label in rows}))), sentence_encoder()
    features = {"e": embed(config, texts)}
    data = replace(
        labeled_examples(kind, features, labels, np.arange(size)), payloads_N=texts[:size]
    )
    targets_N = kind.strata(labels[size:])
    evidence = Evidence(kind, data, np.ones(size, np.float32))
    held_out, probs = dict[str, torch.Tensor](), dict[str, torch.Tensor]()
    found: dict[str, tuple[Scores, float]] = {}
    for name in (HEAD, *KINDS):
        if name in DEAR and not dear:
            continue
        began = time.process_time()
        outputs_NC, held_out_NC = _fitted(name, kind, config, data, texts[size:], features["e"])
        calibration = kind.calibrate(held_out_NC, data.targets, data.agreement_N)
        activate = kind.activation([calibration])
        held_out[name], probs[name] = (
            activate(torch.from_numpy(each)[None])[0] for each in (held_out_NC, outputs_NC)
        )
        seconds = time.process_time() - began
        found[name] = scores_of(probs[name].numpy(), targets_N), seconds
    decision = evidence.decision(torch.stack([held_out[HEAD], held_out[TOP]]))
    mean_NC = kind.measures(torch.stack([probs[HEAD], probs[TOP]]), decision).mean_NC
    found[BOTH] = scores_of(mean_NC.numpy(), targets_N), found[HEAD][1] + found[TOP][1]
    return found


def _fitted(
    name: str,
    kind: Classification,
    encoder: EncoderConfig,
    data: Examples,
    tests: Sequence[str],
    features_ND: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Fit a specialist; returns its outputs of the tests, and those held out."""
    folds_N = (uniform(data.ids_N, 0, "folds") * FOLDS).astype(np.int64)
    with TemporaryDirectory() as folder:
        storage = Storage(folder)
        config = SpecialistConfig.model_validate(
            {"kind": KINDS.get(name, "linear"), "encoder": "e"}
        )
        job = FitJob(config, kind, storage, "m/s", None, 0, TrainingConfig(), encoder)
        if name == HEAD:
            head, held_out_NC, _ = Head.fit(job, data, data.agreement_N, folds_N, "cpu")
            x_ND = torch.from_numpy(features_ND[len(data) :])
            return Head.together([head])(x_ND)[0].numpy(), held_out_NC
        tuned, held_out_NC, report = FineTuned.fit(job, data, data.agreement_N, folds_N, "cpu")
        tuned.save(storage, job.folder)
        storage.write_json(f"{job.folder}/config.json", config.model_dump())
        network = TunedRef(storage, job.folder, report.weights).load(encoder)
        return _outputs(network, tests), held_out_NC


def _outputs(network: Encoder, texts: Sequence[str]) -> FloatArray:
    half_NC, _ = encode_rows(network, texts, 64)
    return half_NC.astype(np.float32)


if __name__ == "__main__":
    main("fine_tuning", __doc__, run, repeats=3)
