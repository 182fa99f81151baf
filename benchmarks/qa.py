"""Does a network learn to mark answers in real dialogues, and does its uncertainty find its errors?

    python -m benchmarks.qa [--quick] [--check] [--repeats 5]

Questions about the lines of a series, with MiniLM: umc_ray/demo/dialogues.py. A reader learns from
500 questions by the code of the product, and answers 400 of other episodes: F1, exact match, how
well uncertainty predicts errors (AUROC), calibration error, and CPU seconds on one thread, its
cross-validation included.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import sklearn.metrics
import torch

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import sentence_encoder
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.config.task import READER_EPOCHS, READER_LAYERS
from umc_ray.demo.dialogues import Question, questions
from umc_ray.demo.fetch import cache_dir
from umc_ray.methods.calibration import reliability
from umc_ray.methods.identity import uniform
from umc_ray.methods.text_pair import joined
from umc_ray.passes.encode import encode_rows
from umc_ray.specialists.fine_tuned import FineTuned, TunedRef
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.task import Measures

KIND = ExtractiveQA()
LABELS, TESTS, FOLDS = 500, 400, 5
MAX_TOKENS = 256

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answered:
    """What a reader says of some questions, and how good it is."""

    measures: Measures
    f1_N: npt.NDArray[np.float32]

    @property
    def right_N(self) -> npt.NDArray[np.bool_]:
        """Where an answer has the words of a right one."""
        right_N: npt.NDArray[np.bool_] = self.f1_N == 1
        return right_N

    def auroc(self, acquisition: str) -> float:
        """Return how well uncertainty tells errors from right answers."""
        uncertain_N = KIND.acquisition(self.measures, acquisition).numpy()
        return float(sklearn.metrics.roc_auc_score(~self.right_N, uncertain_N))


def run(options: Options) -> Report:
    """Train readers and let them answer."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {}
    labels, tests = (60, 60) if options.quick else (LABELS, TESTS)
    for seed in range(options.repeats):
        train, test = episodes_apart(seed)
        for name, value in _measured(train[:labels], test[:tests], seed).items():
            found.setdefault(name, []).append(value)
    units = {"train": "CPU s"}
    return Report(
        {"questions": labels, "tests": tests},
        {name: Figure(units.get(name, "share"), values) for name, values in found.items()},
    )


def episodes_apart(seed: int) -> tuple[list[Question], list[Question]]:
    """Return questions of half of the episodes, and of the others, both shuffled."""
    everything, rng = questions(cache_dir(), seed), np.random.default_rng(seed)
    names = sorted({each.episode for each in everything})
    chosen = {names[i] for i in rng.permutation(len(names))[: len(names) // 2]}
    shuffled = [everything[i] for i in rng.permutation(len(everything))]
    train = [each for each in shuffled if each.episode in chosen]
    return train, [each for each in shuffled if each.episode not in chosen]


def _measured(train: Sequence[Question], test: Sequence[Question], seed: int) -> dict[str, float]:
    began = time.process_time()
    with TemporaryDirectory() as folder:
        reader = Reader(folder, train, seed)
        seconds = time.process_time() - began
        found = reader.answer(test)
    certainty_N = found.measures.certainty_N.numpy()
    return {
        "f1": float(found.f1_N.mean()),
        "exact_match": float(found.right_N.mean()),
        "auroc_margin": found.auroc("margin"),
        "auroc_least_confidence": found.auroc("least_confidence"),
        "auroc_entropy": found.auroc("entropy"),
        "calibration_error": reliability(certainty_N, found.right_N).error(),
        "train": seconds,
    }


class Reader:
    """A network that was fine-tuned on questions, stored and loaded as the product does."""

    def __init__(self, folder: str, train: Sequence[Question], seed: int) -> None:
        encoder = sentence_encoder().model_copy(update={"max_tokens": MAX_TOKENS})
        config = SpecialistConfig(
            kind="top_layers", encoder="e", layers=READER_LAYERS, epochs=READER_EPOCHS
        )
        storage, data = Storage(folder), _examples(train)
        job = FitJob(config, KIND, storage, "m/s", None, seed, TrainingConfig(), encoder)
        folds_N = (uniform(data.ids_N, seed, "folds") * FOLDS).astype(np.int64)
        tuned, held_out_NC, report = FineTuned.fit(job, data, data.agreement_N, folds_N, "cpu")
        tuned.save(storage, job.folder)
        storage.write_json(f"{job.folder}/config.json", config.model_dump())
        self.network = TunedRef(storage, job.folder, report.weights).load(encoder)
        self.calibration = KIND.calibrate(held_out_NC, data.targets, data.agreement_N)

    def answer(self, test: Sequence[Question]) -> Answered:
        """Answer questions."""
        half_NC, _ = encode_rows(self.network, _payloads(test), 64)
        outputs_SNC = torch.from_numpy(half_NC.astype(np.float32))[None]
        measures = KIND.measures(KIND.activation([self.calibration])(outputs_SNC), {})
        predicted = KIND.predict(measures.mean_NC, {})
        return Answered(measures, KIND.utility(predicted, [each.answer for each in test]))


def _payloads(rows: Sequence[Question]) -> list[str]:
    return [joined([each.question, each.context]) for each in rows]


def _examples(rows: Sequence[Question]) -> Examples:
    n, texts = len(rows), tuple(each.answer for each in rows)
    return Examples(
        texts_N=texts,
        targets=KIND.encode(texts),
        features={},
        domains_N=np.full(n, "dialogues"),
        ids_N=np.arange(n),
        audit_N=np.zeros(n, np.bool_),
        random_N=np.ones(n, np.bool_),
        rounds_N=np.ones(n, np.int64),
        agreement_N=np.ones(n, np.float32),
        payloads_N=tuple(_payloads(rows)),
    )


if __name__ == "__main__":
    main("qa", __doc__, run, repeats=5)
