"""What a replica does with samples: check, encode, score.

The rules are those of ingestion and the arithmetic is that of the pass over a pool, so that the
endpoint and `umc score` say the same of the same sample.

Suffixes: S specialists, N samples, C classes, D embedding dimension.
"""

import base64
import binascii
import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import PIL.Image
import torch

from umc_ray.campaign.publish import Publication
from umc_ray.config.campaign import CampaignConfig
from umc_ray.encoders.encoder import Half
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.ingest.validate import Found, Rejected, check, rules_of
from umc_ray.methods.scoring import acquisition, score
from umc_ray.passes.encode import encode_rows
from umc_ray.records import DomainKey
from umc_ray.serving.live import LivePublication
from umc_ray.serving.messages import Sample
from umc_ray.serving.settings import ServingConfig
from umc_ray.specialists.ensemble import Ensemble

Payload = str | bytes

CPU_BATCH = 8
"""Samples of a forward pass on a CPU: of real sentences, larger batches pad more than they save
(MiniLM, CPU ms per text: 16.5 one by one, 16.9 by 32, 9.7 by 8 of like length)."""

MEASURES = ("confidence", "disagreement", "score", "margin", "entropy", "mutual_information")


@dataclass(frozen=True)
class Bad:
    """A sample that cannot be used."""

    reason: str


@dataclass(frozen=True)
class Prediction:
    """What the encoder and, if there are any, the specialists make of a sample."""

    embedding_D: Half
    values: dict[str, Any]
    probs_SC: torch.Tensor


@dataclass(frozen=True)
class Predictions:
    """Those of one request, all by the same publication."""

    publication: Publication | None
    rows: Sequence[Prediction | Bad]


class TaskScorer:
    """Checks and scores the samples of one task."""

    def __init__(
        self, config: CampaignConfig, name: str, settings: ServingConfig, live: LivePublication
    ) -> None:
        self.name, self.live = name, live
        self.config, self.acquisition = config.tasks[name], config.selection.acquisition
        self.encoder_hash = encoder_hash(self.config.encoder)
        self.encoder = load_encoder(self.config.encoder)
        # Each thread computes alone: torch's own threads wait for each other, at full speed, which
        # takes ten times the processor time where other processes want it too.
        on_gpu = self.config.encoder.num_gpus > 0
        self.threads = 1 if on_gpu else settings.cpus
        self.most = self.config.encoder.batch_size if on_gpu else CPU_BATCH
        self.pool = ThreadPoolExecutor(self.threads, "encode", torch.set_num_threads, (1,))
        self.column = self.encoder.column
        self.rules = replace(
            rules_of(
                config,
                next(domain_key for domain_key in config.domains() if domain_key.task == name),
                "pool",
            ),
            domain_key=DomainKey(name, "request"),
            text="text" if self.column == "text" else None,
            image="image" if self.column == "image" else None,
            key=None,
            label=None,
            ratings=None,
            max_text_chars=settings.max_text_chars,
            max_image_pixels=settings.max_image_pixels,
        )
        # The first pass through a model is slow, and no request should wait for it.
        self.dimension = encode_rows(self.encoder, [_warm_up(self.column)], 1)[0].shape[1]

    def check(self, sample: Sample) -> Payload | Bad:
        """Return the payload of a sample if ingestion would take it."""
        given = [name for name in ("text", "image") if getattr(sample, name) is not None]
        if given != [self.column]:
            return Bad(f"{self.name} needs {self.column}, found {' and '.join(given) or 'nothing'}")
        payload: Payload | None = sample.text
        if sample.image is not None:
            try:
                payload = base64.b64decode(sample.image, validate=True)
            except (binascii.Error, ValueError):
                return Bad("image is not base64")
        row = check(self.rules, Found("request", "", "", {self.column: payload}))
        if isinstance(row, Rejected):
            return Bad(str(row.reason))
        assert payload is not None
        return payload

    def judge(self, requests: Sequence[Sequence[Payload]]) -> list[Predictions]:
        """Encode and score the samples of several requests at once."""
        # Read once: all of a batch is answered by the same version.
        publication = self.live.now
        ensemble = None if publication is None else publication.ensembles.get(self.name)
        payloads = [payload for request in requests for payload in request]
        embeddings_ND, rejected = self._encoded(payloads)
        rows: list[Prediction | Bad] = list(self._predictions(ensemble, embeddings_ND))
        for i, reason in rejected.items():
            rows[i] = Bad(reason)
        ends = np.cumsum([len(request) for request in requests])
        return [
            Predictions(publication, rows[end - len(request) : end])
            for end, request in zip(ends, requests, strict=True)
        ]

    def _encoded(self, payloads: Sequence[Payload]) -> tuple[Half, dict[int, str]]:
        """Encode in all threads, texts of like length together; says which cannot be, and why."""
        size = min(self.most, math.ceil(len(payloads) / self.threads))
        # The longest first, so that all threads end at about the same time.
        order = sorted(range(len(payloads)), key=lambda i: -len(payloads[i]))
        chunks = [order[i : i + size] for i in range(0, len(order), size)]

        def encode(rows: list[int]) -> tuple[Half, dict[int, str]]:
            return encode_rows(self.encoder, [payloads[i] for i in rows], size)

        embeddings_ND = np.zeros((len(payloads), self.dimension), dtype=np.float16)
        rejected: dict[int, str] = {}
        for rows, (found_ND, reasons) in zip(chunks, self.pool.map(encode, chunks), strict=True):
            rejected |= {rows[i]: reason for i, reason in reasons.items()}
            if len(reasons) < len(rows):
                embeddings_ND[rows] = found_ND
        return embeddings_ND, rejected

    def _predictions(self, ensemble: Ensemble | None, embeddings_ND: Half) -> list[Prediction]:
        if ensemble is None:
            return [Prediction(row_D, {}, torch.empty(0, 0)) for row_D in embeddings_ND]
        probs_SNC = ensemble.probabilities(np.nan_to_num(embeddings_ND))
        scores = score(probs_SNC)
        columns = {name: getattr(scores, f"{name}_N").tolist() for name in MEASURES}
        columns["priority"] = acquisition(scores, self.acquisition).tolist()
        columns["label"] = [self.config.labels[i] for i in scores.mean_NC.argmax(1).tolist()]
        columns["probabilities"] = [self.by_label(row_C) for row_C in scores.mean_NC]
        return [
            Prediction(row_D, dict(zip(columns, values, strict=True)), probs_SNC[:, i])
            for i, (row_D, *values) in enumerate(zip(embeddings_ND, *columns.values(), strict=True))
        ]

    def by_label(self, probs_C: torch.Tensor) -> dict[str, float]:
        """Name probabilities."""
        return dict(zip(self.config.labels, probs_C.tolist(), strict=True))


def _warm_up(column: str) -> Payload:
    if column == "text":
        return "a few words"
    file = io.BytesIO()
    PIL.Image.new("L", (64, 64)).save(file, "PNG")
    return file.getvalue()
