"""What stands in for people in `umc demo --diversity`: recorded labels, and a model of all of them.

Of a real sample the source knows the label. Of a synthetic one nobody does: as a person would, the
stand-in compares it with what it knows, which is every real sample, also those that the campaign
has no label of. It cannot see what a person might: an image that is no digit at all but resembles
some of one label is accepted.

Suffixes: N synthetic samples, D embedding dimension.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sklearn.neighbors import NearestNeighbors

from umc_ray.annotation.store import Question
from umc_ray.campaign.run import Run
from umc_ray.demo.planted import Drawing
from umc_ray.diversity.generators.generator import Payload
from umc_ray.diversity.generators.registry import embed_with
from umc_ray.methods.identity import sample_ids
from umc_ray.records import DomainKey, FloatArray

NAME = "stand-in"
NEIGHBORS, AGREEING = 5, 4
"""So many of the nearest real samples must have the same label."""


@dataclass(frozen=True)
class Neighbors:
    """Labels samples by the real ones that they resemble most."""

    index: NearestNeighbors
    labels: Sequence[str]

    @classmethod
    def of(cls, embeddings_ND: FloatArray, labels: Sequence[str]) -> "Neighbors":
        """Take in all real samples."""
        return cls(NearestNeighbors(n_neighbors=NEIGHBORS).fit(embeddings_ND), labels)

    def judge(self, embeddings_ND: FloatArray) -> list[str | None]:
        """Return the label of each sample; None where its neighbors differ: it is rejected."""
        near_N5 = self.index.kneighbors(embeddings_ND, return_distance=False)
        counts = [Counter(self.labels[i] for i in row).most_common(1)[0] for row in near_N5]
        return [label if n >= AGREEING else None for label, n in counts]


@dataclass(frozen=True)
class StandIn:
    """Answers a campaign's open questions."""

    run: Run
    known: Mapping[str, Sequence[Drawing]]
    """All real samples, by domain."""

    def answer(self) -> int:
        """Answer what is open; returns how many questions that were."""
        store, campaign = self.run.store, self.run.config.name
        questions = store.open_questions(campaign)
        labels = {**self._of_real(questions), **self._of_synthetic(questions)}
        answers = [each.answered(NAME, labels[each.sample_id]) for each in questions]
        store.record(answers, [f"{campaign}/{each.sample_id}" for each in answers])
        return len(answers)

    def _of_real(self, questions: Sequence[Question]) -> dict[int, str]:
        asked = {each.sample_id for each in questions}
        found: dict[int, str] = {}
        for key in self.run.config.domains():
            drawings = self.known[key.domain]
            ids = sample_ids(key.task, key.domain, "pool", [each.key for each in drawings])
            pairs = zip(ids.tolist(), drawings, strict=True)
            found |= {i: each.label for i, each in pairs if i in asked}
        return found

    def _of_synthetic(self, questions: Sequence[Question]) -> dict[int, str | None]:
        made = [each for each in questions if each.payload.made is not None]
        found: dict[int, str | None] = {}
        for key in self.run.config.domains():
            ids = [each.sample_id for each in made if each.domain == key.domain]
            if ids:
                found |= self._judged(key, ids)
        return found

    def _judged(self, key: DomainKey, ids: Sequence[int]) -> dict[int, str | None]:
        images = self._images(key)
        embed = embed_with(self.run.config.tasks[key.task].default_encoder_config)
        drawings = self.known[key.domain]
        model = Neighbors.of(embed([d.image for d in drawings]), [d.label for d in drawings])
        return dict(zip(ids, model.judge(embed([images[i] for i in ids])), strict=True))

    def _images(self, key: DomainKey) -> dict[int, Payload]:
        parts = [part for part in self.run.synthetic if part.domain_key == key]
        tables = [self.run.storage.read_table(part.key("pool")) for part in parts]
        return {
            sample_id: image
            for table in tables
            for sample_id, image in zip(
                table["sample_id"].to_pylist(), table["image"].to_pylist(), strict=True
            )
        }
