"""What is the cost of samples that could crash a run or exhaust its memory?

    python -m benchmarks.poison [--quick] [--check] [--repeats 1]

Ingests and encodes texts and images, once clean and once with one in a thousand replaced by poison:
truncated JPEGs, decompression bombs (400 MB in a PNG of 50 KB), texts with NUL, texts of 50,000
tokens. Exactly the poisoned samples must be in quarantine, with the reason.
"""

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cost import Cost, cost_of, peak_memory
from benchmarks.frame import Figure, Options, Report, local_ray, main
from umc_ray.config.campaign import CampaignConfig
from umc_ray.demo.prepare import prepare
from umc_ray.ingest.ingest import ingest
from umc_ray.passes.encode import encode
from umc_ray.records import DomainKey, Part
from umc_ray.storage import Storage

TEXTS, IMAGES = DomainKey("mood", "posts"), DomainKey("shapes", "scans")
EVERY = 1000
NUL, LONG = "NUL character", "text too long"
BROKEN, BOMB = "undecodable image", "image too large"
SIDE_PX = 16

Poison = Mapping[int, str]
"""The kind of poison by row."""


def run(options: Options) -> Report:
    """Ingest and encode the clean and the poisoned samples, each with a new Ray."""
    count = 5_000 if options.quick else 50_000
    encoder = str(prepare().wordllama)
    costs: dict[str, list[Cost]] = {"clean": [], "poisoned": []}
    peaks: dict[str, list[float]] = {"clean": [], "poisoned": []}
    failures: list[str] = []
    for _ in range(options.repeats):
        for name, every in (("clean", 0), ("poisoned", EVERY)):
            texts, images = (
                poisoned(count, every, [NUL, LONG]),
                poisoned(count, every, [BROKEN, BOMB]),
            )
            with tempfile.TemporaryDirectory(prefix="umc-bench") as folder:
                write_texts(Path(folder, "posts.jsonl"), texts, count)
                write_images(Path(folder, "scans.parquet"), images, count)
                config, storage = configure(Path(folder), encoder), Storage(f"{folder}/run")
                with local_ray(2), peak_memory() as peak:
                    costs[name].append(cost_of(ingest_and_encode, config, storage))
                peaks[name].append(peak[0])
                failures += _differences(storage, texts, images)
    return Report(
        workload={"texts": count, "images": count, "one poison in": EVERY},
        figures={
            f"{name}_{kind}": Figure(unit, values)
            for name in costs
            for kind, unit, values in (
                ("s", "s", [each.wall_s for each in costs[name]]),
                ("cpu_s", "CPU s", [each.cpu_s for each in costs[name]]),
                ("mb", "MB", peaks[name]),
            )
        }
        | {"memory_growth": Figure("times", [max(peaks["poisoned"]) / max(peaks["clean"])])},
        failures=failures,
    )


def _differences(storage: Storage, texts: Poison, images: Poison) -> list[str]:
    expected = {TEXTS: dict(texts), IMAGES: dict(images)}
    return [
        f"{domain_key}: {len(quarantined)} rows in quarantine, {len(rows)} are poison"
        for domain_key, rows in expected.items()
        if (quarantined := quarantine(storage, domain_key)) != rows
    ]


def poisoned(count: int, every: int, kinds: list[str]) -> dict[int, str]:
    """Return the poisoned rows and their kinds; none if `every` is 0."""
    rows = range(every // 2, count, every) if every else range(0)
    return {row: kinds[i % len(kinds)] for i, row in enumerate(rows)}


def write_texts(path: Path, poison: Poison, count: int) -> None:
    """Write texts as JSON lines."""
    forms: dict[str | None, Callable[[int], str]] = {
        None: lambda i: f"good word{i}",
        NUL: lambda i: f"good\0 word{i}",
        LONG: lambda i: f"row{i} " + "bad " * 50_000,
    }
    with path.open("w") as file:
        for i in range(count):
            file.write(json.dumps({"text": forms[poison.get(i)](i)}) + "\n")


def write_images(path: Path, poison: Poison, count: int) -> None:
    """Write images as a Parquet column."""
    bomb = _file_of(PIL.Image.new("1", (20_000, 20_000)), "PNG")
    images = []
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (SIDE_PX, SIDE_PX), dtype=np.uint8)
        jpeg = _file_of(PIL.Image.fromarray(pixels), "JPEG")
        # Append a number to each bomb: otherwise all would be duplicates of the first.
        files = {None: jpeg, BROKEN: jpeg[:-60], BOMB: bomb + b"%d" % i}
        images.append(files[poison.get(i)])
    pq.write_table(pa.table({"image": images}), path)


def _file_of(image: PIL.Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def configure(folder: Path, encoder: str) -> CampaignConfig:
    """Return a campaign over the files of a folder, with static embeddings of the texts."""
    tasks = {
        TEXTS.task: {
            "kind": "classification",
            "labels": ["bad", "good"],
            "encoder": {
                "kind": "static_text",
                "path": encoder,
                "max_tokens": 256,
                "workers": 1,
            },
            "domains": {TEXTS.domain: {"source": str(folder / "posts.jsonl"), "text": "text"}},
        },
        IMAGES.task: {
            "kind": "classification",
            "labels": ["round", "square"],
            "encoder": {"kind": "pixels", "image_px": 8, "workers": 1},
            "domains": {IMAGES.domain: {"source": str(folder / "scans.parquet"), "image": "image"}},
        },
    }
    return CampaignConfig.model_validate(
        {"name": "poison", "tasks": tasks, "budget": {"labels": 9, "per_round": 9}}
    )


def ingest_and_encode(
    config: CampaignConfig, storage: Storage
) -> dict[DomainKey, tuple[Part, ...]]:
    """Ingest and encode all samples; returns the parts of each pool."""
    parts = {
        domain_key: ingest(config, domain_key, "pool", storage).parts
        for domain_key in (TEXTS, IMAGES)
    }
    encoders = {name: task.named_encoders for name, task in config.tasks.items()}
    rejected = encode(encoders, [part for each in parts.values() for part in each], storage)
    if any(rejected.values()):
        raise RuntimeError(f"samples that passed ingest cannot be encoded: {rejected}")
    return parts


def quarantine(storage: Storage, domain_key: DomainKey) -> dict[int, str]:
    """Return the reason for each row in quarantine; rows count from 0."""
    keys = storage.keys(f"quarantine/pool/{domain_key}")
    rows: list[dict[str, Any]] = [
        row for key in keys for row in storage.read_table(key).to_pylist()
    ]
    return {int(row["row"]) - 1: row["reason"].partition(":")[0] for row in rows}


if __name__ == "__main__":
    main("poison", __doc__, run, repeats=1)
