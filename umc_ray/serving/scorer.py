"""Scoring in a replica: validate, encode, score.

Validation follows ingestion and the arithmetic follows the pass over a pool, so that the endpoint
and `umc score` return the same for the same sample.

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
"""Samples per forward pass on a CPU. For real sentences, larger batches cost more in padding than
they save (MiniLM, CPU ms per text: 16.5 one by one, 16.9 by 32, 9.7 by 8 of similar length)."""

MEASURES = ("confidence", "disagreement", "score", "margin", "entropy", "mutual_information")


@dataclass(frozen=True)
class InvalidSample:
    """A sample that cannot be used, and why."""

    reason: str


@dataclass(frozen=True)
class Prediction:
    """The embedding of a sample; if there are specialists, also their probabilities and scores."""

    embedding_D: Half
    values: dict[str, Any]
    probs_SC: torch.Tensor


@dataclass(frozen=True)
class Predictions:
    """The predictions of one request, all from the same publication."""

    publication: Publication | None
    rows: Sequence[Prediction | InvalidSample]


class TaskScorer:
    """Validates and scores the samples of one task."""

    def __init__(
        self, config: CampaignConfig, name: str, settings: ServingConfig, live: LivePublication
    ) -> None:
        self.name, self.live = name, live
        self.config, self.acquisition = config.tasks[name], config.selection.acquisition
        self.encoder_hash = encoder_hash(self.config.encoder)
        self.encoder = load_encoder(self.config.encoder)
        # Each thread computes alone: torch's own threads busy-wait for each other, which takes ten
        # times the CPU time when other processes compete for the cores.
        on_gpu = self.config.encoder.num_gpus > 0
        self.threads = 1 if on_gpu else settings.cpus
        self.max_chunk = self.config.encoder.batch_size if on_gpu else CPU_BATCH
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
        # Warm up: the first forward pass of a model is slow.
        self.dimension = encode_rows(self.encoder, [_warm_up(self.column)], 1)[0].shape[1]

    def validate(self, sample: Sample) -> Payload | InvalidSample:
        """Return the payload of a sample, by the rules of ingestion."""
        given = [name for name in ("text", "image") if getattr(sample, name) is not None]
        if given != [self.column]:
            found = " and ".join(given) or "nothing"
            return InvalidSample(f"{self.name} needs {self.column}, found {found}")
        payload: Payload | None = sample.text
        if sample.image is not None:
            try:
                payload = base64.b64decode(sample.image, validate=True)
            except (binascii.Error, ValueError):
                return InvalidSample("image is not base64")
        row = check(self.rules, Found("request", "", "", {self.column: payload}))
        if isinstance(row, Rejected):
            return InvalidSample(str(row.reason))
        assert payload is not None
        return payload

    def predict(self, requests: Sequence[Sequence[Payload]]) -> list[Predictions]:
        """Encode and score the samples of several requests at once."""
        # Read once, so that one version scores the whole batch.
        publication = self.live.now
        ensemble = None if publication is None else publication.ensembles.get(self.name)
        payloads = [payload for request in requests for payload in request]
        embeddings_ND, failures = self._encode(payloads)
        rows: list[Prediction | InvalidSample] = list(self._score(ensemble, embeddings_ND))
        for i, reason in failures.items():
            rows[i] = InvalidSample(reason)
        ends = np.cumsum([len(request) for request in requests])
        return [
            Predictions(publication, rows[end - len(request) : end])
            for end, request in zip(ends, requests, strict=True)
        ]

    def _encode(self, payloads: Sequence[Payload]) -> tuple[Half, dict[int, str]]:
        """Encode in all threads, in chunks of similar length.

        Returns the embeddings, and by index why a payload could not be encoded.
        """
        size = min(self.max_chunk, math.ceil(len(payloads) / self.threads))
        # Longest first, so that all threads finish at about the same time.
        order = sorted(range(len(payloads)), key=lambda i: -len(payloads[i]))
        chunks = [order[i : i + size] for i in range(0, len(order), size)]

        def encode(rows: list[int]) -> tuple[Half, dict[int, str]]:
            return encode_rows(self.encoder, [payloads[i] for i in rows], size)

        embeddings_ND = np.zeros((len(payloads), self.dimension), dtype=np.float16)
        failures: dict[int, str] = {}
        for rows, (chunk_ND, reasons) in zip(chunks, self.pool.map(encode, chunks), strict=True):
            failures |= {rows[i]: reason for i, reason in reasons.items()}
            if len(reasons) < len(rows):
                embeddings_ND[rows] = chunk_ND
        return embeddings_ND, failures

    def _score(self, ensemble: Ensemble | None, embeddings_ND: Half) -> list[Prediction]:
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
        """Return probabilities by label."""
        return dict(zip(self.config.labels, probs_C.tolist(), strict=True))


def _warm_up(column: str) -> Payload:
    if column == "text":
        return "a few words"
    file = io.BytesIO()
    PIL.Image.new("L", (64, 64)).save(file, "PNG")
    return file.getvalue()
