"""Samples that people were asked about: what they saw, why, and what they answered."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from umc_ray.campaign.history import History, of_domains
from umc_ray.records import DomainKey
from umc_ray.selection.batch import NO_MODEL, gather

ROUNDS = 3
PER_TASK = 6  # samples of a round and task
TEXT_CHARS = 320
IMAGE_PX = 160


@dataclass(frozen=True)
class Sample:
    """A sample as the page shows it; `text` is untrusted, `image` is a data URI."""

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
    """Show samples of the first, a middle and the last round."""
    batches = history.batches.drop_columns(["embedding"])
    numbers = np.unique(np.linspace(1, history.rounds, ROUNDS).round().astype(int)).tolist()
    found = []
    for number in numbers:
        for task in history.run.config.tasks:
            domain_keys = [
                domain_key for domain_key in history.run.config.domains() if domain_key.task == task
            ]
            rows = batches.filter(pa.array(batches["round"].to_numpy() == number))
            samples = _samples(history, domain_keys, rows)
            if samples:
                found.append(Gallery(number, task, tuple(samples)))
    return found


def _samples(history: History, domain_keys: Sequence[DomainKey], batch: pa.Table) -> list[Sample]:
    """Take from each domain in turn, chosen samples before audits."""
    ranked = []
    for domain_key in domain_keys:
        mine = of_domains(batch, [domain_key])
        if not len(mine):
            continue
        order = np.argsort(mine["audit"].to_numpy(zero_copy_only=False), kind="stable")
        mine = mine.take(pa.array(order[:PER_TASK]))
        column = (
            "text" if history.run.config.tasks[domain_key.task].kind.startswith("text") else "image"
        )
        parts, columns = history.run.pool(domain_key), ["key", column]
        payloads = gather(history.run.storage, parts, "pool", mine, columns).to_pylist()
        classes = history.run.classes[domain_key.task]
        ranked += [
            (rank, _sample({**row, **payload}, classes))
            for rank, (row, payload) in enumerate(zip(mine.to_pylist(), payloads, strict=True))
        ]
    return [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])[:PER_TASK]]


def _sample(row: dict[str, Any], classes: Sequence[str]) -> Sample:
    text, image = row.get("text"), row.get("image")
    return Sample(
        domain=row["domain"],
        key=row["key"],
        text=None if text is None else _cut(text),
        image=None if image is None else thumbnail(image),
        audit=row["audit"],
        why=row["why"],
        predicted=None if row["predicted"] == NO_MODEL else classes[row["predicted"]],
        confidence=row["confidence"],
        answer=None if row["label"] is None else classes[row["label"]],
        votes=row["votes"],
        agreement=row["agreement"],
    )


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 1] + "…"


def thumbnail(content: bytes) -> str | None:
    """Redraw an image small, as a data URI: nothing of the file but its pixels reaches the page.

    None if it cannot be read.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            small = image.convert("RGBA")
    except OSError:
        return None
    small.thumbnail((IMAGE_PX, IMAGE_PX))
    times = max(1, IMAGE_PX // max(small.size))  # tiny images are shown pixel by pixel
    small = small.resize((small.width * times, small.height * times), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
