"""A campaign's endpoint without HTTP: tasks, their models, and who waits for them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from umc_ray.campaign.campaign import finished_rounds, round_metrics
from umc_ray.campaign.publish import Publication, PublishedEnsemble
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.errors import StoreError
from umc_ray.serving.access import Access
from umc_ray.serving.batcher import Batcher
from umc_ray.serving.drift import RecentMargins, pool_reference
from umc_ray.serving.live import LivePublication
from umc_ray.serving.media import Media, Unusable
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
from umc_ray.serving.neighbors import LabeledSamples, labeled_samples
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.scorer import Bad, Payload, Prediction, Predictions, TaskScorer
from umc_ray.serving.settings import ServingConfig

logger = logging.getLogger(__name__)

FETCHES = 16
"""Samples that are fetched at once."""


class Endpoint:
    """Answers requests; `refresh` brings the newest publication in."""

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
        self.batchers: dict[str, Batcher[Payload, Predictions]] = {
            name: Batcher(
                scorer.judge,
                settings.batch_size,
                settings.max_wait_s,
                partial(self.metrics.batch, name),
            )
            for name, scorer in self.scorers.items()
        }
        self.media, self.fetching = Media(settings), asyncio.Semaphore(FETCHES)
        self.live.refresh()

    def admit(self, path: str) -> None:
        """Refuse a request to a path before its task is known, if it would wait for any too long.

        Raises:
            Refusal: the models of all tasks have too much to do.
        """
        for batcher in self.batchers.values():
            try:
                batcher.admit()
                return
            except Refusal as refusal:
                last = refusal
        self.metrics.request(path, last.status, 0.0)
        raise last

    def refresh(self) -> None:
        """Look for a new publication, and record how things stand."""
        self.live.refresh()
        for name, batcher in self.batchers.items():
            self.metrics.state(name, batcher.waiting, self._drift(name))
        if self.live.now is not None:
            self.metrics.answers(self.live.now.manifest.round)

    def _drift(self, task: str) -> float | None:
        if self.live.now is None:
            return None
        try:
            reference = pool_reference(self.run.storage, task, self.live.now.manifest.round)
        except StoreError as error:
            logger.warning("drift is not known: %s", error)
            return None
        return self.recent[task].drift(reference)

    @property
    def publication(self) -> Publication:
        """What answers now.

        Raises:
            Refusal: nothing is published yet.
        """
        if self.live.now is None:
            reason = self.live.refused or "no round is done"
            raise Refusal(503, f"there are no specialists yet: {reason}", retry_after_s=30)
        return self.live.now

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Score samples.

        Raises:
            Refusal: none can be scored, or not now.
        """
        scorer = self._scorer(request)
        found = await self._judge(scorer, request.samples)
        if found.publication is None or scorer.name not in found.publication.manifest.ensembles:
            reason = self.live.refused or "no round is done"
            raise Refusal(503, f"{scorer.name} has no specialists: {reason}", retry_after_s=30)
        manifest = found.publication.manifest
        ensemble = manifest.ensembles[scorer.name]
        labeled = await self._labeled(scorer, manifest.round) if request.neighbors else None

        def result(index: int, sample: Sample, prediction: Prediction) -> SampleScore:
            views = near = None
            if request.specialists:
                probs = map(scorer.by_label, prediction.probs_SC)
                views = dict(zip(ensemble.specialists, probs, strict=True))
            if labeled is not None:
                near = labeled.nearest(prediction.embedding_D, request.neighbors)
            return SampleScore(
                index=index,
                id=sample.id,
                route=_route(ensemble, prediction),
                specialists=views,
                neighbors=near,
                **prediction.values,
            )

        results, errors = _sorted_out(request.samples, found.rows, result)
        self._observe(scorer.name, manifest.version, results)
        return ScoreResponse(
            version=manifest.version,
            task=scorer.name,
            certificate=ensemble.certificate,
            results=results,
            errors=errors,
        )

    async def embed(self, request: EmbedRequest) -> EmbedResponse:
        """Encode samples.

        Raises:
            Refusal: none can be encoded, or not now.
        """
        scorer = self._scorer(request)
        found = await self._judge(scorer, request.samples)

        def result(index: int, sample: Sample, prediction: Prediction) -> SampleEmbedding:
            return SampleEmbedding(
                index=index, id=sample.id, embedding=prediction.embedding_D.tolist()
            )

        results, errors = _sorted_out(request.samples, found.rows, result)
        return EmbedResponse(
            encoder=scorer.encoder_hash, task=scorer.name, results=results, errors=errors
        )

    def models(self) -> ModelsResponse:
        """Say which version answers."""
        manifest = self.publication.manifest
        tasks = {
            name: TaskModels(
                labels=each.labels,
                specialists=each.specialists,
                encoder=each.encoder,
                hash=each.hash,
            )
            for name, each in manifest.ensembles.items()
        }
        return ModelsResponse(
            version=manifest.version, round=manifest.round, tasks=tasks, refused=self.live.refused
        )

    def campaign(self) -> CampaignResponse:
        """Say where the campaign stands."""
        rounds = finished_rounds(self.run.storage)
        last = round_metrics(self.run.storage, rounds)[-1] if rounds else {}
        return CampaignResponse(
            name=self.run.config.name,
            tasks={name: list(labels) for name, labels in self.run.classes.items()},
            rounds=rounds,
            labels=last.get("labels", 0),
            audit_accuracy=last.get("audit_accuracy"),
        )

    def scorer(self, task: str | None) -> TaskScorer:
        """Return what scores a task; None names the only one.

        Raises:
            Refusal: there is no such task.
        """
        if task is None and len(self.scorers) == 1:
            return next(iter(self.scorers.values()))
        if task not in self.scorers:
            raise Refusal(422, f"task must be one of {', '.join(self.scorers)}")
        return self.scorers[task]

    def _scorer(self, request: EmbedRequest) -> TaskScorer:
        if len(request.samples) > self.settings.max_samples:
            found, most = len(request.samples), self.settings.max_samples
            raise Refusal(413, f"a request may have {most} samples, found {found}")
        return self.scorer(request.task)

    def _observe(self, task: str, version: str, results: Sequence[SampleScore]) -> None:
        routes = Counter(each.route for each in results)
        for route, samples in routes.items():
            self.metrics.routed(task, route, samples)
        self.recent[task].observe(version, [each.margin for each in results])

    async def _labeled(self, scorer: TaskScorer, rounds: int) -> LabeledSamples:
        classes = tuple(scorer.config.labels)
        try:
            return await asyncio.to_thread(
                labeled_samples, self.run.storage, scorer.name, classes, rounds
            )
        except StoreError as error:
            logger.warning("no neighbors: %s", error)
            raise Refusal(503, "the labeled samples cannot be read", retry_after_s=30) from error

    async def _judge(self, scorer: TaskScorer, samples: Sequence[Sample]) -> Predictions:
        """Check samples, and have the usable ones judged together with those of others.

        Raises:
            Refusal: none of them is usable, or too many requests wait.
        """
        batcher = self.batchers[scorer.name]
        batcher.admit()
        brought: Sequence[Sample | Bad] = samples
        if any(each.image_url or each.reference for each in samples):
            brought = await asyncio.gather(*(self._brought(scorer, each) for each in samples))
        checked = await asyncio.to_thread(
            lambda: [each if isinstance(each, Bad) else scorer.check(each) for each in brought]
        )
        rows: list[Prediction | Bad] = [each for each in checked if isinstance(each, Bad)]
        found = Predictions(None, ())
        if payloads := [each for each in checked if not isinstance(each, Bad)]:
            found = await batcher.submit(payloads)
            judged = iter(found.rows)
            rows = [each if isinstance(each, Bad) else next(judged) for each in checked]
        if all(isinstance(row, Bad) for row in rows):
            errors = _sorted_out(samples, rows, lambda *_: None)[1]
            raise Refusal(422, "no sample of the request is usable", errors)
        return Predictions(found.publication, rows)

    async def _brought(self, scorer: TaskScorer, sample: Sample) -> Sample | Bad:
        """Fetch what a sample refers to."""
        try:
            async with self.fetching:
                return await self.media.bring(sample, scorer.column)
        except Unusable as error:
            return Bad(str(error))


def _route(ensemble: PublishedEnsemble, prediction: Prediction) -> Route:
    """Say whether a label is sure enough to stand by itself."""
    certificate = ensemble.certificate
    sure = max(prediction.values["probabilities"].values())
    return "auto" if certificate is not None and sure >= certificate.threshold else "human"


Result = TypeVar("Result")


def _sorted_out(
    samples: Sequence[Sample],
    rows: Sequence[Prediction | Bad],
    result: Callable[[int, Sample, Prediction], Result],
) -> tuple[list[Result], list[SampleError]]:
    """Divide the samples of a request into results and errors, each with its index."""
    results, errors = [], []
    for index, (sample, row) in enumerate(zip(samples, rows, strict=True)):
        if isinstance(row, Bad):
            errors.append(SampleError(index=index, id=sample.id, error=row.reason))
        else:
            results.append(result(index, sample, row))
    return results, errors
