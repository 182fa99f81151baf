"""Texts and images of the samples to label, read from the pool and cached."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from umc_ray.annotation.backends.backend import sample_rows
from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import Question
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.errors import DataError, StoreError
from umc_ray.ingest.browser_images import browser_image
from umc_ray.ingest.pixels import open_image
from umc_ray.methods.text_pair import headed
from umc_ray.records import DomainKey
from umc_ray.selection.gather import gather
from umc_ray.selection.labeled import parts_of

CACHE_BYTES = 256_000_000
LOCATION = ["task", "domain", "part", "row", "sample_id"]


@dataclass(frozen=True)
class Sample:
    """A text or an image; the other is None. A pair of texts has a heading for each."""

    text: str | None
    image: bytes | None
    headings: tuple[str, ...] = ()

    @property
    def parts(self) -> list[tuple[str, str]]:
        """The text, or both of a pair, each with its heading, empty for one text."""
        return [] if self.text is None else headed(self.text, self.headings)

    @property
    def size(self) -> int:
        """Approximate size in bytes."""
        return len(self.text or "") + len(self.image or b"")


class Samples:
    """Reads samples round by round and caches the most recently used ones in memory."""

    def __init__(self, run: Run, cache_bytes: int = CACHE_BYTES) -> None:
        """Read from a run directory."""
        self._run, self._cache_bytes = run, cache_bytes
        self._cache: OrderedDict[SampleKey, Sample] = OrderedDict()
        self._cached_bytes = 0
        self._rounds: set[int] = set()
        self._lock = threading.Lock()

    def get(self, questions: Sequence[Question]) -> list[Sample]:
        """Return the samples of questions.

        Raises:
            StoreError: a sample is not in the pool.
        """
        with self._lock:
            samples = {question.key: self._cached(question) for question in questions}
            missing = [question for question in questions if samples[question.key] is None]
            for round in sorted({question.round for question in missing}):
                samples |= self._read(round, [each for each in missing if each.round == round])
        return [self._require(question, samples.get(question.key)) for question in questions]

    def _require(self, question: Question, sample: Sample | None) -> Sample:
        if sample is None:
            raise StoreError(
                f"sample {question.sample_id} of {question.task}/{question.domain} has a question "
                f"but is not in the pool of {self._run.storage.root}"
            )
        return sample

    def _cached(self, question: Question) -> Sample | None:
        if question.payload.text is not None:
            return self._sample(question.task, {"text": question.payload.text, "image": None})
        sample = self._cache.get(question.key)
        if sample is not None:
            self._cache.move_to_end(question.key)
        return sample

    def _read(self, round: int, questions: Sequence[Question]) -> dict[SampleKey, Sample]:
        """Read and cache the samples of questions in one round or in API batches."""
        run = self._run
        in_round = [q for q in questions if q.campaign == run.config.name]
        samples = self._read_round(round, in_round) if in_round else {}
        others = [q for q in questions if q.key not in samples]  # of API batches, or just imported
        for key, row in sample_rows(run.storage, run.askable_parts(), others, "pool").items():
            samples[key] = self._sample(key[1], row)
        for key, sample in samples.items():
            self._add_to_cache(key, sample)
        return samples

    def _read_round(self, round: int, questions: Sequence[Question]) -> dict[SampleKey, Sample]:
        """Read samples of a round: all of them the first time, because all will be shown."""
        run, key = self._run, f"{round_folder(round)}/batch.parquet"
        if not run.storage.exists(key):  # the labels of round 0 were imported since the last run
            return {}
        batch = run.storage.read_table(key, LOCATION)
        if round in self._rounds:
            requested = {(question.task, question.sample_id) for question in questions}
            keys = zip(batch["task"].to_pylist(), batch["sample_id"].to_pylist(), strict=True)
            batch = batch.filter(pa.array([key in requested for key in keys], pa.bool_()))
        self._rounds.add(round)
        pairs = zip(batch["task"].to_pylist(), batch["domain"].to_pylist(), strict=True)
        domain_keys = [DomainKey(task, domain) for task, domain in pairs]
        samples: dict[SampleKey, Sample] = {}
        for domain_key in sorted(set(domain_keys)):
            in_domain = pa.array([each == domain_key for each in domain_keys], pa.bool_())
            samples |= self._gather(domain_key, batch.filter(in_domain))
        return samples

    def _gather(self, domain_key: DomainKey, locations: pa.Table) -> dict[SampleKey, Sample]:
        run, columns = self._run, ["sample_id", "text", "image"]
        rows = gather(run.storage, parts_of(locations), "pool", locations, columns)
        return {
            (run.config.name, domain_key.task, row["sample_id"]): self._sample(domain_key.task, row)
            for row in rows.to_pylist()
        }

    def _sample(self, task: str, row: Mapping[str, Any]) -> Sample:
        config = self._run.config.tasks.get(task)
        return Sample(row["text"], row["image"], () if config is None else config.pair)

    def _add_to_cache(self, key: SampleKey, sample: Sample) -> None:
        if key not in self._cache:
            self._cached_bytes += sample.size
        self._cache[key] = sample
        while self._cached_bytes > self._cache_bytes and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1].size


def web_image(content: bytes, max_pixels: int) -> tuple[bytes, str]:
    """Return an image that browsers paint as encoders see it, and its media type.

    Raises:
        DataError: the content is not an image, or it has more than `max_pixels`.
    """
    try:
        with open_image(content) as image:
            size = image.size
        if size[0] * size[1] <= max_pixels:
            return browser_image(content)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("the image cannot be read") from error
    raise DataError(
        f"the image has {size[0]} x {size[1]} pixels; at most {max_pixels} pixels can be shown"
    )
