"""Rounds that people answer on the page of `umc annotate`, whether or not it runs at the moment."""

from umc_ray.annotation.backends.backend import AnnotationBackend


class WebBackend(AnnotationBackend):
    """Asks through the store, which the page reads and writes."""

    def hint(self, round: int) -> str:
        """Say what people have to do next."""
        return "people answer on the page of: umc annotate CAMPAIGN.yaml; then run again"
