"""Scoring in a replica: validate, encode, score.

Validation follows ingestion and the arithmetic follows the pass over a pool, so that the endpoint
and `umc score` return the same for the same sample.

Suffixes: S specialists, N samples, C outputs, D embedding dimension.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from umc_ray.campaign.publish import Publication, PublishedEnsemble
from umc_ray.config.campaign import CampaignConfig
from umc_ray.encoders.encoder import Half
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.ingest.groups import group_name
from umc_ray.ingest.validate import Found, Rejected, check, rules_of
from umc_ray.methods.intersections import BETWEEN
from umc_ray.passes.score import score_table
from umc_ray.records import DomainKey
from umc_ray.serving.encoding import Payload, ThreadedEncoder
from umc_ray.serving.live import LivePublication
from umc_ray.serving.messages import Sample
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.settings import ServingConfig
from umc_ray.specialists.ensemble import Ensemble
from umc_ray.tasks.task import Calibration


@dataclass(frozen=True)
class InvalidSample:
    """A sample that cannot be used, and why."""

    reason: str


@dataclass(frozen=True)
class Scored:
    """What the specialists say of a sample.

    `label` is the answer as a release holds it, `certainty` the probability that it is right in
    full; `priority` is the value of the campaign's acquisition function.
    """

    label: object
    certainty: float
    priority: float
    probabilities: dict[str, float]
    measures: dict[str, float]
    probs_SC: torch.Tensor


@dataclass(frozen=True)
class Prediction:
    """The embedding of a sample by the default encoder, and its scores if there are specialists."""

    embedding_D: Half
    scored: Scored | None


@dataclass(frozen=True)
class Predictions:
    """The predictions of one request, all from the same publication."""

    publication: Publication | None
    rows: Sequence[Prediction | InvalidSample]
    by_heads: bool = False  # without fine-tuned specialists

    @property
    def scored(self) -> list[Scored]:
        """The scores of all valid samples, in order."""
        predictions = [row for row in self.rows if isinstance(row, Prediction)]
        return [each.scored for each in predictions if each.scored is not None]


@dataclass(frozen=True)
class Asked:
    """Which domain the samples of a request are of, and of which group each, where it says so."""

    domain: str | None
    groups: Sequence[str | None]

    @property
    def says_something(self) -> bool:
        """Whether predictions may differ from those of samples of which nothing is known."""
        return self.domain is not None or any(group is not None for group in self.groups)

    def decided(
        self, predictions: Predictions, ensemble: Ensemble
    ) -> Iterator[tuple[list[int], torch.Tensor, Calibration]]:
        """Yield the valid samples that are decided alike: rows, outputs SNC and the decision."""
        places: dict[str | None, list[int]] = {}
        probs: dict[int, torch.Tensor] = {}
        for place, (row, group) in enumerate(zip(predictions.rows, self.groups, strict=True)):
            if isinstance(row, Prediction) and row.scored is not None:
                places.setdefault(group, []).append(place)
                probs[place] = row.scored.probs_SC
        for group, own in places.items():
            probs_SNC = torch.stack([probs[place] for place in own], dim=1)
            yield own, probs_SNC, ensemble.decision_in(self.domain, group)


class TaskScorer:
    """Validates and scores the samples of one task."""

    def __init__(
        self, config: CampaignConfig, name: str, settings: ServingConfig, live: LivePublication
    ) -> None:
        self.name, self.live = name, live
        self.config, self.acquisition = config.tasks[name], config.selection.acquisition
        self.kind, self.column = self.config.task_kind(), self.config.payload
        self.parts = len(self.config.pair) or 1
        self.encoder_hash = encoder_hash(self.config.default_encoder_config)
        self.encoders = {
            encoder: ThreadedEncoder(load_encoder(each), each, settings.cpus, self.parts)
            for encoder, each in self.config.named_encoders.items()
        }
        self.cpus = settings.cpus
        self.tuned: tuple[str, dict[str, ThreadedEncoder]] = ("", {})
        self.rules = replace(
            rules_of(
                config,
                next(domain_key for domain_key in config.domains() if domain_key.task == name),
                "pool",
            ),
            domain_key=DomainKey(name, "request"),
            text=(self.config.pair or "text") if self.column == "text" else None,
            columns=(),
            image="image" if self.column == "image" else None,
            key=None,
            label=None,
            ratings=None,
            max_text_chars=settings.max_text_chars,
            max_image_pixels=settings.max_image_pixels,
        )

    def validate(self, sample: Sample) -> Payload | InvalidSample:
        """Return the payload of a sample, by the rules of ingestion."""
        given = [name for name in ("text", "image") if getattr(sample, name) is not None]
        if given != [self.column]:
            found = " and ".join(given) or "nothing"
            return InvalidSample(f"{self.name} needs {self.column}, found {found}")
        texts = sample.text if isinstance(sample.text, list) else [sample.text]
        if len(texts) != self.parts:
            asked = f"the two texts {list(self.config.pair)}" if self.config.pair else "one text"
            return InvalidSample(f"{self.name} needs {asked}, found {len(texts)}")
        values: dict[str, object] = dict(zip(self.rules.texts, texts, strict=False))
        if sample.image is not None:
            try:
                values["image"] = base64.b64decode(sample.image, validate=True)
            except (binascii.Error, ValueError):
                return InvalidSample("image is not base64")
        row = check(self.rules, Found("request", "", "", values))
        if isinstance(row, Rejected):
            return InvalidSample(str(row.reason))
        payload = values["image"] if row.text is None else row.text
        assert isinstance(payload, str | bytes)
        return payload

    def predict(
        self, requests: Sequence[Sequence[Payload]], in_a_hurry: bool = False
    ) -> list[Predictions]:
        """Encode and score the samples of several requests at once.

        In a hurry, fine-tuned specialists are left out where there are others.
        """
        # Read once, so that one version scores the whole batch.
        publication = self.live.now
        by_heads = in_a_hurry and publication is not None and self.name in publication.heads
        ensemble = self.ensemble(publication, by_heads)
        payloads = [payload for request in requests for payload in request]
        embeddings, failures = self._encode(publication, ensemble, payloads)
        rows: list[Prediction | InvalidSample] = list(self._score(ensemble, embeddings))
        for i, reason in failures.items():
            rows[i] = InvalidSample(reason)
        ends = np.cumsum([len(request) for request in requests])
        return [
            Predictions(publication, rows[end - len(request) : end], by_heads)
            for end, request in zip(ends, requests, strict=True)
        ]

    def ensemble(self, publication: Publication | None, by_heads: bool) -> Ensemble | None:
        """Return what scores the task's samples; None if nothing is published for it."""
        if publication is None:
            return None
        return (publication.heads if by_heads else publication.ensembles).get(self.name)

    def _encode(
        self,
        publication: Publication | None,
        ensemble: Ensemble | None,
        payloads: Sequence[Payload],
    ) -> tuple[dict[str, Half], dict[int, str]]:
        """Compute once what the specialists read, and the embeddings of the default encoder.

        Returns:
            The rows by name, and by index why a payload could not be encoded.
        """
        embeddings: dict[str, Half] = {}
        failures: dict[int, str] = {}
        reads = () if ensemble is None else ensemble.reads
        encoders = self.encoders | self._tuned_of(publication)
        for name in dict.fromkeys([self.config.default_encoder, *reads]):
            embeddings[name], reasons = encoders[name].encode(payloads)
            failures |= reasons
        return embeddings, failures

    def _tuned_of(self, publication: Publication | None) -> dict[str, ThreadedEncoder]:
        """Return the fine-tuned specialists of a publication, made ready once."""
        if publication is None:
            return {}
        version, tuned = self.tuned
        if version != publication.manifest.version:
            version, encodings = publication.manifest.version, publication.tuned.get(self.name, {})
            tuned = {
                name: ThreadedEncoder(each.load(), each.config, self.cpus, self.parts)
                for name, each in encodings.items()
            }
            self.tuned = version, tuned
        return tuned

    def _score(self, ensemble: Ensemble | None, embeddings: Mapping[str, Half]) -> list[Prediction]:
        embeddings_ND = embeddings[self.config.default_encoder]
        if ensemble is None:
            return [Prediction(row_D, None) for row_D in embeddings_ND]
        probs_SNC = ensemble.probabilities(embeddings)
        scored = self._scored(ensemble, probs_SNC, ensemble.decision_in(None))
        return [Prediction(*each) for each in zip(embeddings_ND, scored, strict=True)]

    def known_domain(self, domain: str | None) -> str | None:
        """Return the domain that a request names, if it names one.

        Raises:
            Refusal: the task has no such domain.
        """
        if domain is not None and domain not in self.config.domains:
            known = ", ".join(self.config.domains)
            raise Refusal(422, f"domain must be one of those of {self.name}: {known}")
        return domain

    def that_answered(
        self, publication: Publication, by_heads: bool, domain: str | None
    ) -> PublishedEnsemble:
        """Return what answered; its certificate is of the whole ensemble, in a known domain."""
        published = publication.manifest.ensembles[self.name]
        several = "domains" in publication.ensembles[self.name].decision
        holds = not by_heads and (domain is not None or not several)
        specialists = published.ref.heads if by_heads else published.specialists
        certificate = published.certificate if holds else None
        return published.model_copy(update={"certificate": certificate, "specialists": specialists})

    def asked(self, samples: Sequence[Sample], domain: str | None) -> Asked:
        """Return the domain that a request names, and the group that each sample names.

        Raises:
            Refusal: it has other columns than the groups of the domain.
        """
        if all(each.group is None for each in samples):
            return Asked(domain, [None] * len(samples))
        if domain is None and len(self.config.domains) == 1:
            (domain,) = self.config.domains
        columns = [] if domain is None else self.config.domains[domain].groups
        for sample in samples:
            if sample.group is not None and set(sample.group) != set(columns):
                named = ", ".join(columns) or "none here; a task of several domains needs domain"
                raise Refusal(422, f"group must have the groups of the domain: {named}")
        return Asked(
            domain,
            [
                BETWEEN.join(group_name(each.group[name]) for name in columns)
                if each.group
                else None
                for each in samples
            ],
        )

    def as_asked(self, predictions: Predictions, asked: Asked) -> Predictions:
        """Return predictions as they are in a domain and for groups, as `umc score` has them."""
        ensemble = self.ensemble(predictions.publication, predictions.by_heads)
        if ensemble is None:
            return predictions
        rows = list(predictions.rows)
        for places, probs_SNC, decision in asked.decided(predictions, ensemble):
            scored = self._scored(ensemble, probs_SNC, decision)
            for place, each in zip(places, scored, strict=True):
                rows[place] = replace(cast(Prediction, rows[place]), scored=each)
        return replace(predictions, rows=rows)

    def _scored(
        self, ensemble: Ensemble, probs_SNC: torch.Tensor, decision: Calibration
    ) -> list[Scored]:
        found = self.kind.measures(probs_SNC, decision)
        measures = zip(*(values_N.tolist() for values_N in found.columns.values()), strict=True)
        columns = (
            map(self.kind.value, self.kind.predict(found.mean_NC, decision)),
            found.certainty_N.tolist(),
            self.kind.acquisition(found, self.acquisition).tolist(),
            map(self.by_label, found.mean_NC),
            (dict(zip(found.columns, values, strict=True)) for values in measures),
            probs_SNC.unbind(1),
        )
        return [Scored(*values) for values in zip(*columns, strict=True)]

    def by_label(self, probs_C: torch.Tensor) -> dict[str, float]:
        """Return probabilities by label; empty where the task has no labels."""
        return dict(zip(self.kind.labels, probs_C.tolist(), strict=bool(self.kind.labels)))

    def columns(self, predictions: Predictions, asked: Asked) -> list[dict[str, Any]]:
        """Return the columns that `umc score` writes, by name, for each sample."""
        ensemble = self.ensemble(predictions.publication, predictions.by_heads)
        assert ensemble is not None  # it has scored them
        found: dict[int, dict[str, Any]] = {}
        for places, probs_SNC, decision in asked.decided(predictions, ensemble):
            measures = self.kind.measures(probs_SNC, decision)
            table = score_table(self.kind, np.arange(len(places)), measures, decision)
            rows = self.kind.named(table).drop_columns("sample_id").to_pylist()
            found |= dict(zip(places, rows, strict=True))
        return [found[place] for place in sorted(found)]
