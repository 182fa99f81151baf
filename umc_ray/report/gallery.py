"""Examples of queried samples: the payload, why it was chosen, and the label."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from umc_ray.campaign.history import History, of_domains
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.methods.text_pair import headed, readable
from umc_ray.records import DomainKey
from umc_ray.selection.gather import gather

ROUNDS = 3
PER_TASK = 6  # samples per round and task
TEXT_CHARS = 320
IMAGE_PX = 160


@dataclass(frozen=True)
class Sample:
    """A sample as shown on the page; `text` is untrusted, `image` is a data URI."""

    domain: str
    key: str
    text: str | None
    image: str | None
    audit: bool
    why: str
    predicted: str | None
    confidence: float
    answer: str | None
    votes: int | None
    agreement: float | None


@dataclass(frozen=True)
class Gallery:
    """Samples of one round and task."""

    round: int
    task: str
    samples: tuple[Sample, ...]


def galleries(history: History) -> list[Gallery]:
    """Return samples of the first, a middle and the last round."""
    batches = history.batches
    numbers = np.unique(np.linspace(1, history.rounds, ROUNDS).round().astype(int)).tolist()
    result = []
    for number in numbers:
        for task in history.run.config.tasks:
            domain_keys = [
                domain_key for domain_key in history.run.config.domains() if domain_key.task == task
            ]
            rows = batches.filter(pa.array(batches["round"].to_numpy() == number))
            samples = _samples(history, domain_keys, rows)
            if samples:
                result.append(Gallery(number, task, tuple(samples)))
    return result


def _samples(history: History, domain_keys: Sequence[DomainKey], batch: pa.Table) -> list[Sample]:
    """Pick samples from each domain in turn, selected ones before audits."""
    ranked: list[tuple[int, Sample]] = []
    for domain_key in domain_keys:
        rows = of_domains(batch, [domain_key])
        if len(rows):
            ranked += enumerate(_domain_samples(history, domain_key, rows))
    return [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])[:PER_TASK]]


def _domain_samples(history: History, domain_key: DomainKey, rows: pa.Table) -> list[Sample]:
    order = np.argsort(rows["audit"].to_numpy(zero_copy_only=False), kind="stable")
    rows = rows.take(pa.array(order[:PER_TASK]))
    task = history.run.config.tasks[domain_key.task]
    columns = ["key", task.payload]
    parts = history.run.pool(domain_key)
    payloads = gather(history.run.storage, parts, "pool", rows, columns).to_pylist()
    return [
        _sample({**row, **payload}, task.pair)
        for row, payload in zip(rows.to_pylist(), payloads, strict=True)
    ]


def _sample(row: Mapping[str, Any], pair: Sequence[str]) -> Sample:
    text, image = row.get("text"), row.get("image")
    return Sample(
        domain=row["domain"],
        key=row["key"],
        text=None if text is None else _example(text, pair),
        image=None if image is None else thumbnail(image),
        audit=row["audit"],
        why=row["why"],
        predicted=row["predicted"],
        confidence=row["confidence"],
        answer=row["label"],
        votes=row["votes"],
        agreement=row["agreement"],
    )


def _example(text: str, pair: Sequence[str]) -> str:
    """Return a short text, or a line for each of a pair with what it is called."""
    parts = [(name, short_text(part)) for name, part in headed(text, pair)]
    return "\n".join(f"{name}: {part}" if name else part for name, part in parts)


def short_text(text: str) -> str:
    """Return a text on one line, cut where it is too long."""
    text = " ".join(readable(text).split())
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


def thumbnail(content: bytes) -> str | None:
    """Return a small copy of an image as a data URI; None if it cannot be read.

    Only the pixels of the file reach the page.
    """
    try:
        small = decode_rgb(content)
    except OSError:
        return None
    small.thumbnail((IMAGE_PX, IMAGE_PX))
    scale = max(1, IMAGE_PX // max(small.size))  # enlarge tiny images with sharp pixels
    small = small.resize((small.width * scale, small.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
