"""Can texts be written from few labels, and does uncertainty find the bad ones?

    python -m benchmarks.generation [--quick] [--check] [--repeats 3]

Messages of programs in English and German, 4 to 12 words, as the gettext catalogs of this machine
have them. A memory of labeled messages, by their wording (ngrams) and by word vectors
(memory_vectors), and a small T5, which begins with random weights and a tokenizer of its own, learn
from 300 pairs by the code of the product, and translate 200 others:
BLEU and chrF beside the message itself (copy), how well uncertainty tells how good they are
(Spearman with chrF), and CPU seconds of training on one thread. Then, with the memory by wording
alone, 300 labels are chosen in four rounds, by uncertainty or at random.
"""

import gettext
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.stats
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmarks.frame import Figure, Options, Report, main
from benchmarks.sets import word_encoder
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.registry import load_encoder
from umc_ray.methods.bleu import bleu
from umc_ray.methods.identity import fingerprint, uniform
from umc_ray.passes.encode import encode_rows
from umc_ray.specialists.combination import Evidence
from umc_ray.specialists.fine_tuned import FineTuned, TunedRef
from umc_ray.specialists.memory import Memory
from umc_ray.specialists.specialist import Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.generation import Generation
from umc_ray.tasks.task import Calibration, Measures

CATALOGS = Path("/usr/share/locale/de/LC_MESSAGES")
WORDS = (4, 12)
LABELS, TESTS, POOL, FOLDS, EPOCHS = 300, 200, 1500, 5, 3
SIZE: dict[str, Any] = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
VOCABULARY = 1000
RATE = 3e-3

KIND = Generation(max_answer_bytes=120)
WORDING = EncoderConfig(kind="ngrams")
ENCODERS: Mapping[str, Callable[[], EncoderConfig]] = MappingProxyType(
    {"memory": lambda: WORDING, "memory_vectors": word_encoder}
)
"""What the memories read, by name."""

PLAIN: Calibration = {"temperature": 1.0, "shift": 0.0}
"""A calibration that changes nothing."""

Pair = tuple[str, str]
"""A message in English and in German."""


@dataclass(frozen=True)
class Translated:
    """What specialists say of some messages, and how good it is."""

    measures: Measures
    texts: list[str]
    chrf_N: npt.NDArray[np.float32]
    bleu: float

    def spearman(self, certain_N: torch.Tensor) -> float:
        """Return how well a certainty ranks translations by their chrF."""
        return float(scipy.stats.spearmanr(certain_N.numpy(), self.chrf_N).statistic)

    def figures(self, name: str) -> dict[str, float]:
        """Return the figures of a specialist, or of the ensemble."""
        columns = self.measures.columns
        return {
            f"bleu_{name}": self.bleu,
            f"chrf_{name}": float(self.chrf_N.mean()),
            f"spearman_product_{name}": self.spearman(columns["product"]),
            f"spearman_certainty_{name}": self.spearman(self.measures.certainty_N),
        }


def run(options: Options) -> Report:
    """Train, translate, and compare what was chosen with what was drawn."""
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {}
    labels, tests = (60, 40) if options.quick else (LABELS, TESTS)
    everything = messages()
    for seed in range(options.repeats):
        order = np.random.default_rng(seed).permutation(len(everything))
        shuffled = [everything[i] for i in order]
        test, pool = shuffled[:tests], shuffled[tests : tests + (200 if options.quick else POOL)]
        figures = _measured(pool[:labels], test, seed, 1 if options.quick else EPOCHS)
        figures |= _chosen(pool, test, labels, labels // 4, seed)
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    units = {"train_writer": "CPU s"}
    return Report(
        {
            "pairs": len(everything),
            "fingerprint": fingerprint(everything),
            "labels": labels,
            "tests": tests,
            "signature": bleu(["a b c d"], [["a b c d"]]).signature,
        },
        {name: Figure(units.get(name, "share"), values) for name, values in found.items()},
    )


def messages() -> list[Pair]:
    """Return the messages that the catalogs translate, each once."""
    found: dict[str, str] = {}
    for path in sorted(CATALOGS.glob("*.mo")):
        try:
            with path.open("rb") as file:
                catalog: dict[object, str] = vars(gettext.GNUTranslations(file))["_catalog"]
        except (OSError, UnicodeDecodeError):
            continue
        for english, german in catalog.items():
            if isinstance(english, str) and _is_sentence(english) and _is_sentence(german):
                found.setdefault(english.strip(), german.strip())
    fits = [pair for pair in found.items() if len(pair[1].encode()) <= KIND.max_answer_bytes]
    if len(fits) < 2 * POOL:
        raise SystemExit(f"{CATALOGS} has {len(fits)} messages, {2 * POOL} are needed")
    return fits


def _is_sentence(text: str) -> bool:
    return WORDS[0] <= len(text.split()) <= WORDS[1] and "\n" not in text.strip()


def _measured(
    train: Sequence[Pair], test: Sequence[Pair], seed: int, epochs: int
) -> dict[str, float]:
    """Return the figures of a memory, a network, and both together."""
    data, english = _examples(train), [pair[0] for pair in test]
    copied = KIND.utility(english, [pair[1] for pair in test])
    figures = {"bleu_copy": _bleu(english, test), "chrf_copy": float(copied.mean())}
    with TemporaryDirectory() as folder:
        remembered = {name: _remember(folder, name, data, english, seed) for name in ENCODERS}
        began = time.process_time()
        held_out_NC, outputs_NC = _write(folder, data, english, seed, epochs)
        figures["train_writer"] = time.process_time() - began
    held_out = {name: each for name, (each, _) in remembered.items()} | {"writer": held_out_NC}
    outputs = {name: each for name, (_, each) in remembered.items()} | {"writer": outputs_NC}
    for name, members in (
        *((name, [name]) for name in held_out),
        ("ensemble", ["memory", "writer"]),
    ):
        found = _translated(
            [held_out[each] for each in members], data, [outputs[each] for each in members], test
        )
        figures |= found.figures(name)
        if name == "ensemble":
            disagreement_N = -found.measures.columns["disagreement"]
            figures["spearman_agreement_ensemble"] = found.spearman(disagreement_N)
    return figures


def _translated(
    held_out: Sequence[torch.Tensor],
    data: Examples,
    outputs: Sequence[torch.Tensor],
    test: Sequence[Pair],
) -> Translated:
    """Calibrate and weigh specialists by held-out outputs, and let them translate."""
    given = [KIND.calibrate(each.numpy(), data.targets, data.agreement_N) for each in held_out]
    activate = KIND.activation(given)
    evidence = Evidence(KIND, data, data.agreement_N)
    decision = evidence.decision(activate(torch.stack(list(held_out))))
    measures = KIND.measures(activate(torch.stack(list(outputs))), decision)
    texts = KIND.predict(measures.mean_NC, decision)
    chrf_N = KIND.utility(texts, [pair[1] for pair in test])
    return Translated(measures, texts, chrf_N, _bleu(texts, test))


def _bleu(texts: Sequence[str], test: Sequence[Pair]) -> float:
    return bleu(texts, [[pair[1]] for pair in test]).value


def _remember(
    folder: str, name: str, data: Examples, english: Sequence[str], seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the held-out outputs of a memory, and those for other messages."""
    config = SpecialistConfig(kind="memory", encoder=name)
    job = FitJob(config, KIND, Storage(f"{folder}/run"), "m/s", None, seed, TrainingConfig())
    memory, held_out_NC, _ = Memory.fit(job, data, data.agreement_N, _folds(data, seed), "")
    x_ND = torch.from_numpy(_embedded(ENCODERS[name](), english))
    return torch.from_numpy(held_out_NC), memory.lists(x_ND)


def _write(
    folder: str, data: Examples, english: Sequence[str], seed: int, epochs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train a small T5; return its held-out outputs, and those for other messages."""
    assert data.payloads_N is not None
    texts = [*map(str, data.payloads_N), *data.texts_N]
    encoder = small_t5(Path(folder) / "t5", texts, seed)
    config = SpecialistConfig(kind="full", encoder="e", epochs=epochs, learning_rate=RATE)
    storage = Storage(f"{folder}/run")
    job = FitJob(config, KIND, storage, "m/t5", None, seed, TrainingConfig(), encoder)
    tuned, held_out_NC, report = FineTuned.fit(
        job, data, data.agreement_N, _folds(data, seed), "cpu"
    )
    tuned.save(storage, job.folder)
    storage.write_json(f"{job.folder}/config.json", config.model_dump())
    network = TunedRef(storage, job.folder, report.weights).load(encoder)
    half_NC, _ = encode_rows(network, list(english), 64)
    return torch.from_numpy(held_out_NC), torch.from_numpy(half_NC.astype(np.float32))


def small_t5(folder: Path, texts: Sequence[str], seed: int) -> EncoderConfig:
    """Save a T5 with random weights, and a tokenizer that was trained on some texts."""
    import transformers as hf  # seconds to import

    torch.manual_seed(seed)
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words.decoder = decoders.ByteLevel()
    special = ["[PAD]", "[END]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=special,
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    tokenizer: Any = hf.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words,
        pad_token="[PAD]",
        eos_token="[END]",
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)
    architecture: Any = hf.T5Config
    settings = architecture(
        vocab_size=len(tokenizer), pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **SIZE
    )
    hf.T5ForConditionalGeneration(settings).save_pretrained(folder)
    return EncoderConfig(kind="transformers", path=str(folder), max_tokens=128, precision="fp32")


def _chosen(
    pool: Sequence[Pair], test: Sequence[Pair], labels: int, per_round: int, seed: int
) -> dict[str, float]:
    """Return the chrF of a memory whose labels were chosen by uncertainty, and at random."""
    x_ND = _embedded(WORDING, [pair[0] for pair in pool])
    test_ND = _embedded(WORDING, [pair[0] for pair in test])
    found = {}
    for how in ("uncertainty", "random"):
        draw = np.random.default_rng(seed).permutation(len(pool))
        rows, curve = draw[:per_round], []
        while True:
            memory = Memory(
                "e", KIND.outputs, _unit(x_ND[rows]), tuple(pool[row][1] for row in rows.tolist())
            )
            lists_NC = memory.lists(torch.from_numpy(test_ND))
            texts = KIND.predict(KIND.activation([PLAIN])(lists_NC[None])[0], {})
            curve.append(float(KIND.utility(texts, [pair[1] for pair in test]).mean()))
            if len(rows) >= labels:
                break
            rest = np.setdiff1d(draw, rows)
            order = np.random.default_rng(seed + len(rows)).permutation(rest)
            if how == "uncertainty":
                lists_SNC = memory.lists(torch.from_numpy(x_ND[rest]))[None]
                measures = KIND.measures(KIND.activation([PLAIN])(lists_SNC), {})
                uncertain_N = KIND.acquisition(measures, "margin").numpy()
                order = rest[np.argsort(-uncertain_N, kind="stable")]
            rows = np.concatenate([rows, order[:per_round]])
        found[f"chrf_memory_by_{how}"] = curve[-1]
    found["gain_of_selection"] = (
        found["chrf_memory_by_uncertainty"] - found["chrf_memory_by_random"]
    )
    return found


def _unit(x_ND: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(x_ND), dim=1)


def _embedded(encoder: EncoderConfig, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    half_ND, _ = encode_rows(load_encoder(encoder), list(texts), 64)
    return half_ND.astype(np.float32)


def _folds(data: Examples, seed: int) -> npt.NDArray[np.int64]:
    return (uniform(data.ids_N, seed, "folds") * FOLDS).astype(np.int64)


def _examples(rows: Sequence[Pair]) -> Examples:
    n, english, texts = len(rows), [pair[0] for pair in rows], tuple(pair[1] for pair in rows)
    return Examples(
        texts_N=texts,
        targets=KIND.encode(texts),
        features={name: _embedded(each(), english) for name, each in ENCODERS.items()},
        domains_N=np.full(n, "programs"),
        ids_N=np.arange(n),
        audit_N=np.zeros(n, np.bool_),
        random_N=np.ones(n, np.bool_),
        rounds_N=np.ones(n, np.int64),
        agreement_N=np.ones(n, np.float32),
        payloads_N=tuple(english),
    )


if __name__ == "__main__":
    main("generation", __doc__, run, repeats=3)
