"""How fast is the product on a GPU, beside bare loops?

    python -m benchmarks.gpu [--quick] [--check] [--repeats 3]

For a machine with one GPU and no network: MiniLM, ViT-B and EfficientNet-Lite0 have random weights,
which are as fast as trained ones. All in one process, after a warm-up, in turns:

- encoding: an actor's work on parts of a pool, files included, beside a loop that prepares and
  encodes the same batches one after the other, and beside the network alone on a batch that is on
  the device already;
- k-means of cuML, where it is installed, beside that of the product in torch;
- LoRA: an epoch of the product on all samples beside a bare loop of steps;
- scoring: an actor's work on cached embeddings, which is done on CPUs, beside the plain loop of
  benchmarks/scoring.py and beside the same arithmetic on the GPU.

Without a GPU there is only `--quick`, which runs all of it on a CPU, tiny: its figures say nothing.

Suffixes: N samples, D embedding dimension.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from benchmarks import random_networks, scoring
from benchmarks.frame import Figure, Options, Report, main
from benchmarks.specialists import labeled_examples
from umc_ray.cluster.stream import run_item
from umc_ray.config.campaign import TrainingConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.encoder import Half, unit_length
from umc_ray.methods import clustering
from umc_ray.methods.scoring import score
from umc_ray.passes.encode import EncodeItem, EncodeWorker, Encoding
from umc_ray.records import POOL, DomainKey, Part, embeddings_array
from umc_ray.specialists.fine_tuned import FineTuned
from umc_ray.specialists.fine_tuning import BATCH as TUNING_BATCH
from umc_ray.specialists.fine_tuning import FOLDS
from umc_ray.specialists.lora import Lora
from umc_ray.specialists.network import TrainableEncoder, trainable_encoder
from umc_ray.specialists.specialist import Epoch, Examples, FitJob
from umc_ray.storage import Storage
from umc_ray.tasks.classification import Classification

DOMAIN = DomainKey("task", "domain")
KIND = Classification(("a", "b"))
BATCH = 256
PARTS = 4


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    texts: int
    images: int
    tuned: int
    points: int
    clusters: int
    scored: int


FULL = Sizes(40_000, 2_000, 640, 500_000, 1000, 500_000)
QUICK = Sizes(4_000, 400, 160, 50_000, 200, 100_000)
ON_CPU = Sizes(16, 8, 12, 200, 4, 400)

Seconds = dict[str, list[float]]


def run(options: Options) -> Report:
    """Measure all, on the GPU; exits where there is none."""
    on_gpu = torch.cuda.is_available()
    if not on_gpu and not options.quick:
        raise SystemExit("benchmarks.gpu needs a GPU: torch finds no CUDA device here")
    sizes = (QUICK if options.quick else FULL) if on_gpu else ON_CPU
    device = "cuda" if on_gpu else "cpu"
    figures: dict[str, Figure] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        configs = _networks(Path(folder), tiny=not on_gpu)
        for name, config in configs.items():
            config = config.model_copy(update={"num_gpus": float(on_gpu), "batch_size": BATCH})
            found, problems = _encoding(name, config, sizes, options.repeats)
            figures |= found
            failures += problems
        figures |= _clustering(sizes, options.repeats)
        if find_spec("peft"):
            figures |= _tuning(configs["minilm"], sizes.tuned, device, options.repeats)
    figures |= _scoring(sizes.scored, device, options.repeats)
    return Report(_workload(sizes, on_gpu), figures, failures)


def _workload(sizes: Sizes, on_gpu: bool) -> dict[str, Any]:
    missing = [name for name in ("cuml", "peft") if not find_spec(name)]
    device = torch.cuda.get_device_name() if on_gpu else "cpu: tiny, to try the code"
    return {"device": device, **vars(sizes), "not installed": ", ".join(missing) or "none"}


def _networks(folder: Path, tiny: bool) -> dict[str, EncoderConfig]:
    return {
        "minilm": random_networks.text_network(folder / "minilm", tiny),
        "vit_b": random_networks.vit(folder / "vit", tiny),
        "efficientnet": random_networks.efficientnet(folder / "efficientnet", tiny),
    }


def in_turns(repeats: int, works: Mapping[str, Callable[[], object]]) -> Seconds:
    """Run each work once to warm up, then all of them in turns; returns their seconds."""
    seconds: Seconds = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _speeds(prefix: str, unit: str, count: int, seconds: Seconds) -> dict[str, Figure]:
    """Return the speed of each work, and that of the first one over each other one, in pairs."""
    first, *others = seconds
    figures = {
        f"{prefix}_{name}_per_s": Figure(f"{unit}/s", [count / each for each in values])
        for name, values in seconds.items()
    }
    for name in others:
        pairs = zip(seconds[first], seconds[name], strict=True)
        figures[f"{prefix}_of_{name}"] = Figure(f"of {name}", [b / a for a, b in pairs])
    return figures


def _encoding(
    name: str, config: EncoderConfig, sizes: Sizes, repeats: int
) -> tuple[dict[str, Figure], list[str]]:
    """Encode parts as an actor does, in a bare loop, and by the network alone."""
    is_text = config.kind == "transformers"
    payloads: Sequence[Any] = (
        random_networks.texts(sizes.texts) if is_text else random_networks.images(sizes.images)
    )
    encoder = trainable_encoder(config)
    batch = encoder.collate([encoder.prepare(each) for each in payloads[:BATCH]])
    alone = -(-len(payloads) // min(BATCH, len(payloads)))
    with tempfile.TemporaryDirectory(prefix="umc-bench") as root:
        storage = Storage(root)
        parts = list(_pool(storage, encoder.column, payloads))
        encoding = Encoding(config, "features/e")
        worker = EncodeWorker(storage, {(DOMAIN.task, "e"): encoding})

        def product() -> None:
            for part in parts:
                run_item(worker, EncodeItem(part, "e"))

        works = {
            "product": product,
            "loop": lambda: bare_loop(encoder, payloads),
            "network": lambda: _passes(encoder, batch, alone),
        }
        seconds = in_turns(repeats, works)
        problems = _differences(name, storage, parts, bare_loop(encoder, payloads))
    return _speeds(name, "rows", len(payloads), seconds), problems


def _pool(storage: Storage, column: str, payloads: Sequence[Any]) -> Iterator[Part]:
    step = -(-len(payloads) // PARTS)
    for start in range(0, len(payloads), step):
        some = payloads[start : start + step]
        part = Part("pool", DOMAIN, f"part-{start:06d}", len(some))
        rows = [
            {"sample_id": start + i, "key": str(start + i), "source": "random", column: payload}
            for i, payload in enumerate(some)
        ]
        storage.write_table(part.key("pool"), pa.Table.from_pylist(rows, schema=POOL))
        yield part


@torch.inference_mode()
def bare_loop(encoder: TrainableEncoder, payloads: Sequence[Any]) -> Half:
    """Encode batches of similar length one after the other, with nothing beside it."""
    order = sorted(range(len(payloads)), key=lambda row: len(payloads[row]))
    found = []
    for start in range(0, len(order), BATCH):
        prepared = [encoder.prepare(payloads[row]) for row in order[start : start + BATCH]]
        with encoder.autocast():
            found.append(unit_length(encoder.embed(encoder.collate(prepared))))
    embeddings_ND = np.concatenate(found)
    return embeddings_ND[np.argsort(order)]


@torch.inference_mode()
def _passes(encoder: TrainableEncoder, batch: object, count: int) -> None:
    with encoder.autocast():
        for _ in range(count):
            encoder.embed(batch)


def _differences(name: str, storage: Storage, parts: Sequence[Part], bare_ND: Half) -> list[str]:
    found_ND = np.concatenate(
        [
            embeddings_array(storage.read_table(part.key("features/e"))["embedding"])
            for part in parts
        ]
    )
    # Other batches round otherwise: in bfloat16, to 3 digits.
    off = float(np.abs(found_ND.astype(np.float32) - bare_ND.astype(np.float32)).max())
    return [] if off < 0.02 else [f"embeddings of {name} differ from the loop's by {off:.3f}"]


def _clustering(sizes: Sizes, repeats: int) -> dict[str, Figure]:
    """Cluster with the library that the product chooses here, and with torch."""
    generator = torch.Generator().manual_seed(0)
    x_ND = torch.randn(sizes.points, scoring.DIMENSION, generator=generator)
    inertia: dict[str, float] = {}

    def cluster(library: str) -> None:
        with patch.object(clustering, "backend", lambda: library):
            inertia[library] = clustering.kmeans(x_ND, sizes.clusters, seed=0).inertia

    names = dict.fromkeys([clustering.backend(), "torch"])
    seconds = in_turns(repeats, {name: partial(cluster, name) for name in names})
    figures = _speeds("kmeans", "rows", sizes.points, seconds)
    if len(inertia) > 1:
        figures["kmeans_inertia"] = Figure("of torch", [inertia["cuml"] / inertia["torch"]])
    return figures


def _tuning(config: EncoderConfig, size: int, device: str, repeats: int) -> dict[str, Figure]:
    """Compare the last epoch of a LoRA fit, which holds nothing out, with a bare loop."""
    texts = random_networks.texts(size)
    labels = [KIND.labels[i % 2] for i in range(size)]
    data = replace(labeled_examples(KIND, {}, labels, np.arange(size)), payloads_N=tuple(texts))
    specialist = SpecialistConfig(kind="lora", encoder="e", epochs=1)
    config = config.model_copy(update={"num_gpus": float(device == "cuda")})
    encoder = trainable_encoder(config)
    tuning = Lora(encoder, [encoder.prepare(text) for text in texts], specialist)
    order = sorted(range(size), key=lambda row: len(texts[row]))
    batches = [order[i : i + TUNING_BATCH] for i in range(0, size, TUNING_BATCH)]
    targets_N = torch.tensor(data.targets, device=device)
    job = FitJob(specialist, KIND, Storage(""), "m/lora", None, 0, TrainingConfig(), config)
    speeds, bare = [], []
    for _ in range(repeats + 1):
        speeds.append(last_speed(job, data, device))
        bare.append(size / bare_steps(tuning, targets_N, batches))
    ratios = [a / b for a, b in zip(speeds, bare, strict=True)]
    return {
        "lora_product_per_s": Figure("samples/s", speeds[1:]),
        "lora_loop_per_s": Figure("samples/s", bare[1:]),
        "lora_of_loop": Figure("of loop", ratios[1:]),
    }


def last_speed(job: FitJob, data: Examples, device: str) -> float:
    """Fit a specialist; returns the samples/s of its last epoch, on all samples."""
    epochs: list[Epoch] = []
    job = replace(job, on_epoch=lambda epoch, _: epochs.append(epoch))
    folds_N = np.arange(len(data)) % FOLDS
    FineTuned.fit(job, data, data.agreement_N, folds_N, device)
    return epochs[-1].samples_per_s


def bare_steps(tuning: Lora, targets_N: Tensor, batches: Sequence[list[int]]) -> float:
    """Train a new network for an epoch; returns the seconds of its steps."""
    network = tuning.network(KIND.outputs).to(targets_N.device).train()
    trained = [each for each in network.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=tuning.learning_rate)
    began = time.perf_counter()
    for batch in batches:
        with tuning.encoder.autocast():
            outputs_BC = tuning.outputs(network, batch).float()
        loss = torch.nn.functional.cross_entropy(outputs_BC, targets_N[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    float(loss.detach())  # waits for the device
    return time.perf_counter() - began


def _scoring(rows: int, device: str, repeats: int) -> dict[str, Figure]:
    """Score parts as tasks do, two at a time, in the plain loop, and on the device."""
    threads = torch.get_num_threads()
    per_part = min(scoring.ROWS_PER_PART, rows // 2)
    with tempfile.TemporaryDirectory(prefix="umc-bench") as root:
        storage, parts = Storage(root), scoring.parts_of(rows, per_part)
        maker = scoring.FeatureMaker(storage)
        for part in parts:
            run_item(maker, part)
        scoring.write_ensemble(storage)
        worker, files = scoring.scorer(storage), [f"{part.name}.parquet" for part in parts]

        def product() -> None:
            torch.set_num_threads(1)
            with ThreadPoolExecutor(scoring.CPUS) as pool:
                list(pool.map(partial(run_item, worker), parts))

        def plain() -> None:
            storage.delete("plain")
            scoring.plain_loop(root, files)

        works = {
            "product": product,
            "loop": plain,
            "device": lambda: on_device(storage, parts, device),
        }
        seconds = in_turns(repeats, works)
    torch.set_num_threads(threads)
    return _speeds("scoring", "rows", rows, seconds)


@torch.inference_mode()
def on_device(storage: Storage, parts: Sequence[Part], device: str) -> None:
    """Read the same files, and compute their scores on the device; nothing is stored."""
    model = scoring.PlainModel.load(storage.root)
    model = scoring.PlainModel(model.weight_XD.to(device), model.bias_X1.to(device))
    for part in parts:
        features = storage.read_table(part.key(scoring.FEATURES))
        x_ND = torch.from_numpy(embeddings_array(features["embedding"])).to(device)
        score(model.probabilities(x_ND.float())).mean_NC.topk(2, dim=1).values.cpu()


if __name__ == "__main__":
    main("gpu", __doc__, run, repeats=3)
