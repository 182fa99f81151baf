"""Rounds that people answer in Label Studio; `umc labelstudio` goes between."""

from umc_ray.annotation.backends.backend import AnnotationBackend


class LabelStudioBackend(AnnotationBackend):
    """Asks through the store, which `umc labelstudio push` and `pull` read and write."""

    def hint(self, round: int) -> str:
        """Say what people have to do next."""
        return "umc labelstudio push, label there, umc labelstudio pull; then run again"
