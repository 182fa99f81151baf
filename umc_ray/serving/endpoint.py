"""A campaign's endpoint without HTTP: its tasks, models, queues and metrics."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from umc_ray.campaign.publish import Publication, PublishedEnsemble
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import StoreError
from umc_ray.serving.access import Access
from umc_ray.serving.batcher import Batcher
from umc_ray.serving.drift import MARGIN, RecentMargins, pool_reference
from umc_ray.serving.encoding import Payload
from umc_ray.serving.live import LivePublication
from umc_ray.serving.messages import (
    CampaignResponse,
    EmbedRequest,
    EmbedResponse,
    ModelsResponse,
    Route,
    Sample,
    SampleEmbedding,
    SampleError,
    SampleScore,
    ScoreRequest,
    ScoreResponse,
    TaskModels,
)
from umc_ray.serving.metrics import ServingMetrics
from umc_ray.serving.neighbors import LabeledSamples, TaskNeighbors
from umc_ray.serving.payloads import Payloads
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.scorer import InvalidSample, Prediction, Predictions, Scored, TaskScorer
from umc_ray.serving.settings import ServingConfig

logger = logging.getLogger(__name__)


class Endpoint:
    """Answers requests; `refresh` loads the latest publication."""

    def __init__(self, settings: ServingConfig) -> None:
        self.settings = settings
        self.run = Run(load_campaign(settings.campaign))
        self.access = Access.read(settings.tokens)
        self.live = LivePublication(self.run.storage, self.run.config)
        self.scorers = {
            name: TaskScorer(self.run.config, name, settings, self.live)
            for name in self.run.config.tasks
        }
        self.metrics = ServingMetrics(self.run.config.name)
        self.recent = {name: RecentMargins() for name in self.scorers}
        self.neighbors = {name: TaskNeighbors(self.run, name) for name in self.scorers}
        self.batchers: dict[str, Batcher[Payload, Predictions]] = {
            name: Batcher(
                partial(self._predict_batch, name),
                settings.batch_size,
                settings.max_wait_s,
                partial(self.metrics.record_batch, name),
            )
            for name in self.scorers
        }
        self.payloads = Payloads(settings)
        self.live.refresh()

    def _predict_batch(self, task: str, requests: list[Sequence[Payload]]) -> list[Predictions]:
        hurries = self.settings.under_overload == "heads" and self.batchers[task].is_behind
        return self.scorers[task].predict(requests, hurries)

    def admit(self, path: str) -> None:
        """Refuse a request whose task is not known yet if it would wait too long for any task.

        Raises:
            Refusal: the models of all tasks are overloaded.
        """
        for batcher in self.batchers.values():
            try:
                batcher.admit()
                return
            except Refusal as refusal:
                last = refusal
        self.metrics.record_response(path, last.status, 0.0)
        raise last

    def refresh(self) -> None:
        """Load a new publication if there is one, and update the gauges."""
        self.live.refresh()
        for name, batcher in self.batchers.items():
            self.metrics.set_load(name, batcher.waiting, self._drift(name))
        if self.live.now is not None:
            self.metrics.set_round(self.live.now.manifest.round)

    def _drift(self, task: str) -> float | None:
        if self.live.now is None or MARGIN not in self.run.kinds[task].measures_about:
            return None
        try:
            reference = pool_reference(self.run.storage, task, self.live.now.manifest.round)
        except StoreError as error:
            logger.warning("cannot measure drift: %s", error)
            return None
        return self.recent[task].drift(reference)

    @property
    def publication(self) -> Publication:
        """The publication that is served.

        Raises:
            Refusal: nothing is published yet.
        """
        if self.live.now is None:
            raise self._no_specialists()
        return self.live.now

    def _no_specialists(self, where: str = "") -> Refusal:
        reason = self.live.refused or "no round is finished"
        return Refusal(503, f"no specialists are published{where}: {reason}", retry_after_s=30)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Score samples.

        Raises:
            Refusal: all samples are invalid, or the endpoint is overloaded or not ready.
        """
        scorer = self._scorer_of(request)
        domain = scorer.known_domain(request.domain)
        asked = scorer.asked(request.samples, domain)
        predictions = await self._predict(scorer, request.samples)
        if asked.says_something:
            predictions = await asyncio.to_thread(scorer.as_asked, predictions, asked)
        publication = predictions.publication
        if publication is None or scorer.name not in publication.manifest.ensembles:
            raise self._no_specialists(f" for {scorer.name}")
        manifest, by_heads = publication.manifest, predictions.by_heads
        published = scorer.that_answered(publication, by_heads, domain)
        labeled = await self._labeled(scorer, manifest.round) if request.neighbors else None
        result = partial(_sample_score, scorer, request, published, labeled)
        results, errors = _results_and_errors(request.samples, predictions.rows, result)
        if request.columns:
            columns = await asyncio.to_thread(scorer.columns, predictions, asked)
            results = [
                each.model_copy(update={"columns": row})
                for each, row in zip(results, columns, strict=True)
            ]
        self._observe(scorer.name, manifest.version, results, predictions)
        return ScoreResponse(
            version=manifest.version,
            task=scorer.name,
            certificate=published.certificate,
            by_heads=by_heads,
            results=results,
            errors=errors,
        )

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Encode samples.

        Raises:
            Refusal: all samples are invalid, or the endpoint is overloaded.
        """
        scorer = self._scorer_of(request)
        predictions = await self._predict(scorer, request.samples)

        def result(index: int, sample: Sample, prediction: Prediction) -> SampleEmbedding:
            return SampleEmbedding(
                index=index, id=sample.id, embedding=prediction.embedding_D.tolist()
            )

        results, errors = _results_and_errors(request.samples, predictions.rows, result)
        return EmbedResponse(
            encoder=scorer.encoder_hash, task=scorer.name, results=results, errors=errors
        )

    def models(self) -> ModelsResponse:
        """Return the version that is served."""
        manifest = self.publication.manifest
        tasks = {
            name: TaskModels(
                kind=ensemble.kind,
                labels=ensemble.labels,
                specialists=ensemble.specialists,
                encoders=ensemble.encoders,
                hash=ensemble.hash,
            )
            for name, ensemble in manifest.ensembles.items()
        }
        return ModelsResponse(
            version=manifest.version, round=manifest.round, tasks=tasks, refused=self.live.refused
        )

    def campaign(self) -> CampaignResponse:
        """Return the state of the campaign."""
        rounds = self.run.finished_rounds
        last = self.run.metrics(rounds + 1)
        return CampaignResponse(
            name=self.run.config.name,
            tasks={name: list(kind.labels) for name, kind in self.run.kinds.items()},
            rounds=rounds,
            labels=0 if last is None else last.labels,
            audit_utility=None if last is None else last.audit_utility,
        )

    def scorer(self, task: str | None) -> TaskScorer:
        """Return the scorer of a task; None stands for the only task.

        Raises:
            Refusal: there is no such task.
        """
        if task is None and len(self.scorers) == 1:
            return next(iter(self.scorers.values()))
        if task not in self.scorers:
            raise Refusal(422, f"task must be one of {', '.join(self.scorers)}")
        return self.scorers[task]

    def _scorer_of(self, request: EmbedRequest) -> TaskScorer:
        count, limit = len(request.samples), self.settings.max_samples
        if count > limit:
            raise Refusal(413, f"requests are limited to {limit} samples, found {count}")
        return self.scorer(request.task)

    def _observe(
        self, task: str, version: str, results: Sequence[SampleScore], predictions: Predictions
    ) -> None:
        for route, samples in Counter(result.route for result in results).items():
            self.metrics.count_route(task, route, samples)
        if predictions.by_heads:
            return  # the pool's margins, with which they would be compared, are of all specialists
        margins = [each.measures[MARGIN] for each in predictions.scored if MARGIN in each.measures]
        self.recent[task].observe(version, margins)

    async def _labeled(self, scorer: TaskScorer, rounds: int) -> LabeledSamples:
        try:
            return await asyncio.to_thread(self.neighbors[scorer.name].read, rounds)
        except StoreError as error:
            logger.warning("cannot return neighbors: %s", error)
            raise Refusal(503, "the labeled samples cannot be read", retry_after_s=30) from error

    async def _predict(self, scorer: TaskScorer, samples: Sequence[Sample]) -> Predictions:
        """Validate samples, and predict the valid ones in one batch with other requests.

        Raises:
            Refusal: all samples are invalid, too many requests are waiting, or the images are
                too large together.
        """
        batcher = self.batchers[scorer.name]
        batcher.admit()
        payloads = await self.payloads.load(scorer, samples)
        rows: list[Prediction | InvalidSample] = [
            each for each in payloads if isinstance(each, InvalidSample)
        ]
        predictions = Predictions(None, ())
        if valid := [each for each in payloads if not isinstance(each, InvalidSample)]:
            predictions = await batcher.submit(valid)
            remaining = iter(predictions.rows)
            rows = [
                each if isinstance(each, InvalidSample) else next(remaining) for each in payloads
            ]
        if all(isinstance(row, InvalidSample) for row in rows):
            errors = _results_and_errors(samples, rows, lambda *_: None)[1]
            raise Refusal(422, "no sample in the request is valid", errors)
        return replace(predictions, rows=rows)


def _sample_score(
    scorer: TaskScorer,
    request: ScoreRequest,
    ensemble: PublishedEnsemble,
    labeled: LabeledSamples | None,
    index: int,
    sample: Sample,
    prediction: Prediction,
) -> SampleScore:
    scored = prediction.scored
    assert scored is not None  # there are specialists
    specialists = neighbors = None
    if request.specialists:
        probs = map(scorer.by_label, scored.probs_SC)
        specialists = dict(zip(ensemble.specialists, probs, strict=True))
    if labeled is not None:
        neighbors = labeled.nearest(prediction.embedding_D, request.neighbors)
    return SampleScore(
        index=index,
        id=sample.id,
        label=scored.label,
        certainty=scored.certainty,
        probabilities=scored.probabilities,
        priority=scored.priority,
        route=_route(ensemble, scored),
        specialists=specialists,
        neighbors=neighbors,
        **scored.measures,
    )


def _route(ensemble: PublishedEnsemble, scored: Scored) -> Route:
    """Return whether the certificate lets the label stand without a person."""
    certificate = ensemble.certificate
    is_certified = certificate is not None and scored.certainty >= certificate.threshold
    return "auto" if is_certified else "human"


Result = TypeVar("Result")


def _results_and_errors(
    samples: Sequence[Sample],
    rows: Sequence[Prediction | InvalidSample],
    result: Callable[[int, Sample, Prediction], Result],
) -> tuple[list[Result], list[SampleError]]:
    """Split the samples of a request into results and errors, each with its index."""
    results, errors = [], []
    for index, (sample, row) in enumerate(zip(samples, rows, strict=True)):
        if isinstance(row, InvalidSample):
            errors.append(SampleError(index=index, id=sample.id, error=row.reason))
        else:
            results.append(result(index, sample, row))
    return results, errors
