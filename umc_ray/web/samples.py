"""What people look at: the text or image of each sample that they are asked about."""

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from PIL import Image

from umc_ray.annotation.backends.backend import sample_rows
from umc_ray.annotation.events import SampleKey
from umc_ray.annotation.store import Question
from umc_ray.campaign.run import Run
from umc_ray.campaign.state import round_folder
from umc_ray.errors import DataError, StoreError
from umc_ray.records import DomainKey
from umc_ray.selection.batch import gather

CACHE_BYTES = 256_000_000
PLACE = ["task", "domain", "part", "row", "sample_id"]
WEB_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


@dataclass(frozen=True)
class Sample:
    """One of text and image is None."""

    text: str | None
    image: bytes | None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.text or "") + len(self.image or b"")


class Samples:
    """Reads samples of a campaign, a round at a time, and keeps the last ones in memory."""

    def __init__(self, run: Run, cache_bytes: int = CACHE_BYTES) -> None:
        """Read from a run directory."""
        self._run, self._cache_bytes = run, cache_bytes
        self._cache: OrderedDict[SampleKey, Sample] = OrderedDict()
        self._held = 0
        self._rounds: set[int] = set()
        self._turn = threading.Lock()

    def of(self, questions: Sequence[Question]) -> list[Sample]:
        """Return the samples of questions.

        Raises:
            StoreError: one is not in the pool.
        """
        with self._turn:
            found = {question.key: self._known(question) for question in questions}
            missing = [question for question in questions if found[question.key] is None]
            for round in sorted({question.round for question in missing}):
                found |= self._read(round, [each for each in missing if each.round == round])
            samples = []
            for question in questions:
                sample = found.get(question.key)
                if sample is None:
                    raise StoreError(
                        f"sample {question.sample_id} of {question.task}/{question.domain} was "
                        f"asked but is not in the pool of {self._run.storage.root}"
                    )
                samples.append(sample)
            return samples

    def _known(self, question: Question) -> Sample | None:
        if "text" in question.payload:
            return Sample(str(question.payload["text"]), None)
        sample = self._cache.get(question.key)
        if sample is not None:
            self._cache.move_to_end(question.key)
        return sample

    def _read(self, round: int, questions: Sequence[Question]) -> dict[SampleKey, Sample]:
        """Read the samples of a round: all of them the first time, as they will all be asked."""
        of_round = [q for q in questions if q.campaign == self._run.config.name]
        others = [q for q in questions if q.campaign != self._run.config.name]
        found = self._read_batch(round, of_round) if of_round else {}
        run = self._run
        for key, row in sample_rows(run.storage, run.parts, others, "pool").items():
            found[key] = Sample(row["text"], row["image"])
        for key, sample in found.items():
            self._keep(key, sample)
        return found

    def _read_batch(self, round: int, questions: Sequence[Question]) -> dict[SampleKey, Sample]:
        run, name = self._run, self._run.config.name
        batch = run.storage.read_table(f"{round_folder(round)}/batch.parquet", PLACE)
        if round in self._rounds:
            wanted = {(question.task, question.sample_id) for question in questions}
            keys = zip(batch["task"].to_pylist(), batch["sample_id"].to_pylist(), strict=True)
            batch = batch.filter(pa.array([key in wanted for key in keys], pa.bool_()))
        self._rounds.add(round)
        domain_keys = zip(batch["task"].to_pylist(), batch["domain"].to_pylist(), strict=True)
        of_row = [DomainKey(task, domain) for task, domain in domain_keys]
        found = {}
        for domain_key in sorted(set(of_row)):
            picks = batch.filter(pa.array([each == domain_key for each in of_row], pa.bool_()))
            columns = ["sample_id", "text", "image"]
            for row in gather(
                run.storage, run.pool(domain_key), "pool", picks, columns
            ).to_pylist():
                found[name, domain_key.task, row["sample_id"]] = Sample(row["text"], row["image"])
        return found

    def _keep(self, key: SampleKey, sample: Sample) -> None:
        if key not in self._cache:
            self._held += sample.size
        self._cache[key] = sample
        while self._held > self._cache_bytes and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].size


def web_image(content: bytes, max_pixels: int) -> tuple[bytes, str]:
    """Return an image as browsers show it, and its media type; other formats are redrawn.

    Raises:
        DataError: it is no image, or has more than `max_pixels`.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > max_pixels:
                raise DataError(f"an image of {image.width} x {image.height} is too large to show")
            if image.format in WEB_FORMATS:
                return content, WEB_FORMATS[image.format]
            drawn = io.BytesIO()
            image.convert("RGBA").save(drawn, "PNG")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("the image cannot be read") from error
    return drawn.getvalue(), "image/png"
