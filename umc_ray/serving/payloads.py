"""The payloads of a request: fetched where they are references, and checked in threads."""

import asyncio
import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from umc_ray.ingest.pixels import open_image
from umc_ray.serving.encoding import Payload
from umc_ray.serving.media import MediaError, MediaLoader
from umc_ray.serving.messages import Sample
from umc_ray.serving.refusal import Refusal
from umc_ray.serving.scorer import InvalidSample, TaskScorer
from umc_ray.serving.settings import ServingConfig

MAX_FETCHES = 16
"""Samples whose payloads are fetched at once."""

MOST_LARGE_IMAGES = 8
"""Of the largest size in a request: files of a kilobyte can have as many pixels, which take up to
a second each."""

Checked = list[Payload | InvalidSample]


class Payloads:
    """Loads and checks the payloads of requests."""

    def __init__(self, settings: ServingConfig) -> None:
        self.media, self.fetches = MediaLoader(settings), asyncio.Semaphore(MAX_FETCHES)
        self.max_pixels = settings.max_image_pixels
        # A decoded image has some hundred megabytes: not one for each request in progress.
        self.decoding = ThreadPoolExecutor(settings.cpus, "decode")

    async def load(self, scorer: TaskScorer, samples: Sequence[Sample]) -> Checked:
        """Return the payload of each sample, or why it cannot be used.

        Raises:
            Refusal: the images have too many pixels together.
        """
        loaded: Sequence[Sample | InvalidSample] = samples
        if any(each.image_url is not None or each.reference is not None for each in samples):
            loaded = await asyncio.gather(*(self._fetch(scorer, sample) for sample in samples))
        threads = self.decoding if scorer.column == "image" else None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(threads, self._check, scorer, loaded)

    async def _fetch(self, scorer: TaskScorer, sample: Sample) -> Sample | InvalidSample:
        """Return a sample with its reference loaded."""
        try:
            async with self.fetches:
                return await self.media.load(sample, scorer.column)
        except MediaError as error:
            return InvalidSample(str(error))

    def _check(self, scorer: TaskScorer, loaded: Sequence[Sample | InvalidSample]) -> Checked:
        images = [each.image for each in loaded if isinstance(each, Sample) and each.image]
        most = MOST_LARGE_IMAGES * self.max_pixels
        if sum(map(self._pixels, images)) > most:
            raise Refusal(413, f"the images have more than {most} pixels: send fewer at a time")
        return [
            each if isinstance(each, InvalidSample) else scorer.validate(each) for each in loaded
        ]

    def _pixels(self, image: str) -> int:
        """Return the number of pixels to decode: by the header, 0 of what will be refused."""
        try:
            with open_image(base64.b64decode(image)) as opened:
                pixels: int = opened.width * opened.height
        except Exception:
            return 0
        return pixels if pixels <= self.max_pixels else 0
