"""Encoders of images that need no pretrained weights.

Suffixes: N samples, H and W pixels.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from umc_ray.config.task import EncoderConfig
from umc_ray.encoders.encoder import Half, to_device, unit_length
from umc_ray.encoders.gradients import GradientFeatures


class Gradients:
    """Histograms of oriented gradients: small images, no weights."""

    column = "image"

    def __init__(self, config: EncoderConfig) -> None:
        self.image_px = config.image_px
        self.device = "cuda" if config.num_gpus else "cpu"
        self.features = GradientFeatures().eval().to(self.device)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to grey."""
        return decode(payload, "L", self.image_px)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Any]) -> Half:
        """Compute the features of a batch."""
        images_NHW = np.stack(prepared)
        images_N1HW = to_device(self.device, torch.from_numpy(images_NHW))[:, None].float() / 255
        return unit_length(self.features(images_N1HW))


class Pixels:
    """The image itself, small: the plainest baseline."""

    column = "image"

    def __init__(self, config: EncoderConfig) -> None:
        self.image_px = config.image_px

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to grey."""
        return decode(payload, "L", self.image_px)

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Flatten the pixels."""
        images_NHW = np.stack(prepared)
        return unit_length(torch.from_numpy(images_NHW).float().flatten(1) / 255)


def decode(payload: bytes, mode: str, image_px: int) -> npt.NDArray[np.uint8]:
    """Decode image bytes to a square array, H x W for mode L."""
    with Image.open(io.BytesIO(payload)) as image:
        small = image.convert(mode).resize((image_px, image_px), Image.Resampling.BILINEAR)
        return np.asarray(small)
