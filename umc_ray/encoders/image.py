"""Encoders of images that need no pretrained weights.

Suffixes: N samples, H and W pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Half, to_device, unit_length
from umc_ray.encoders.gradients import GradientFeatures
from umc_ray.ingest.pixels import decode_rgb

SMALL_PX = 32
"""The default size for encoders without weights."""


class Gradients:
    """Histograms of oriented gradients: small images, no weights."""

    column = "image"

    def __init__(self, config: EncoderConfig) -> None:
        self.image_px = config.image_px or SMALL_PX
        self.device = "cuda" if config.num_gpus else "cpu"
        self.features = GradientFeatures().eval().to(self.device)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to gray."""
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
        self.image_px = config.image_px or SMALL_PX

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to gray."""
        return decode(payload, "L", self.image_px)

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Flatten the pixels."""
        images_NHW = np.stack(prepared)
        return unit_length(torch.from_numpy(images_NHW).float().flatten(1) / 255)


def decode(payload: bytes, mode: str, image_px: int) -> npt.NDArray[np.uint8]:
    """Decode image bytes to a square array: H x W for mode L, H x W x 3 for RGB."""
    image = decode_rgb(payload).convert(mode)
    return np.asarray(image.resize((image_px, image_px), Image.Resampling.BILINEAR))
