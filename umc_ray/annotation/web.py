"""Rounds that people answer on the page of `umc annotate`, whether or not it runs at the moment."""

from collections.abc import Mapping, Sequence

from umc_ray.annotation.store import AnnotationStore, Answer, Question
from umc_ray.records import Part
from umc_ray.storage import Storage


class WebBackend:
    """Asks through the store, which the page reads and writes."""

    def __init__(
        self,
        store: AnnotationStore,
        campaign: str,
        storage: Storage,
        parts: Sequence[Part],
        labels: Mapping[str, Sequence[str]],
    ) -> None:
        """Ask for a campaign; the page reads samples and labels by itself."""
        self._store, self._campaign = store, campaign

    def submit(self, questions: Sequence[Question]) -> None:
        """Ask."""
        self._store.submit(questions)

    def collect(self, round: int) -> list[Answer]:
        """Return the answers so far."""
        return self._store.answers(self._campaign, round)

    def hint(self, round: int) -> str:
        """Say what people have to do next."""
        return "people answer on the page of: umc annotate CAMPAIGN.yaml; then run again"
