"""The ways to get answers. A new one is a file beside this one, a line here and one in config."""

from collections.abc import Mapping
from types import MappingProxyType

from umc_ray.annotation.backends.backend import AnnotationBackend
from umc_ray.annotation.backends.label_studio import LabelStudioBackend
from umc_ray.annotation.backends.replay import ReplayAnnotator
from umc_ray.annotation.backends.sheet import SheetBackend
from umc_ray.annotation.backends.web import WebBackend

BACKENDS: Mapping[str, type[AnnotationBackend]] = MappingProxyType(
    {
        "label_studio": LabelStudioBackend,
        "replay": ReplayAnnotator,
        "sheet": SheetBackend,
        "web": WebBackend,
    }
)
"""By the name in campaign files; config/backends.py says what each can do."""
