"""Encoders of images that are pretrained networks.

Suffixes: N images, C channels, H and W pixels or places, T tokens, D embedding dimension.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.efficientnet_lite import EfficientNetLite0
from umc_ray.encoders.encoder import Half, to_device, unit_length
from umc_ray.encoders.precision import autocast, with_precision
from umc_ray.encoders.weights import first_line, load_transformers, weights_folder
from umc_ray.errors import ConfigError
from umc_ray.ingest.pixels import decode_rgb

CPU_PIXELS = 100_000
"""Pixels of a forward pass on a CPU. What 64 images pass from layer to layer does not fit its
caches: per image, EfficientNet-Lite0 takes 53 CPU ms in one pass and 23 in passes of this size at
224 px, 6.8 and 4.9 at 96 px (one busy core, in turns)."""


class _Network:
    """What pretrained networks share: a batch of prepared images through the model."""

    column = "image"

    def __init__(self, config: EncoderConfig, model: Any) -> None:  # noqa: ANN401 - any network
        self.device = "cuda" if config.num_gpus else "cpu"
        self.autocast = partial(autocast, with_precision(config))
        # Convolutions are four times as fast on a CPU where the channels of a pixel lie together.
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Any]) -> Half:
        """Run the network in its precision."""
        images_NCHW = self.collate(prepared)
        passes = split_to_fit(images_NCHW) if self.device == "cpu" else [images_NCHW]
        with self.autocast():
            return unit_length(torch.cat([self.embed(each) for each in passes]))

    def collate(self, prepared: Sequence[Any]) -> Tensor:
        """Return a batch of images NCHW on the device, scaled as the model was trained."""
        images_NCHW = to_device(self.device, torch.stack(list(prepared)))
        return images_NCHW.to(memory_format=torch.channels_last)

    def embed(self, images_NCHW: Tensor) -> Tensor:
        """Return the embeddings ND of a batch; gradients pass through."""
        embeddings_ND: Tensor = self.model(images_NCHW)
        return embeddings_ND


def split_to_fit(images_NCHW: Tensor) -> Sequence[Tensor]:
    """Split a batch into even parts of at most about CPU_PIXELS."""
    pixels = images_NCHW[:, 0].numel()
    return images_NCHW.chunk(max(1, math.ceil(pixels / CPU_PIXELS)))


class TransformersImage(_Network):
    """A model of transformers: ViT, DINO, ResNet, ConvNeXt, the image tower of CLIP or SigLIP."""

    def __init__(self, config: EncoderConfig) -> None:
        # Seconds to import, and only this encoder needs it.
        from transformers import AutoImageProcessor

        folder = weights_folder(config, "config.json", "*.safetensors")
        try:
            # Its other backend gives other pixels, and only where torchvision is installed.
            self.processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                folder, local_files_only=True, backend="pil"
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"encoder {config.kind}: {folder}: {first_line(error)}") from error
        model = load_transformers(config, folder)
        super().__init__(config, getattr(model, "vision_model", model))
        self.pool = self._choose_pool(config.pooling)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode, resize and scale as the model was trained."""
        return self._processed(decode_rgb(payload))

    def _processed(self, image: Image.Image) -> Tensor:
        pixels_1CHW = self.processor(images=image, return_tensors="np")["pixel_values"]
        return torch.from_numpy(np.asarray(pixels_1CHW[0], dtype=np.float32))

    def embed(self, images_NCHW: Tensor) -> Tensor:
        """Return the embeddings ND of a batch, pooled; gradients pass through."""
        return self.pool(self.model(pixel_values=images_NCHW), self._places(images_NCHW))

    def _places(self, images_NCHW: Tensor) -> int:
        """Count the patches of an image; its other tokens stand before those."""
        patch = getattr(self.model.config, "patch_size", None)
        height, width = images_NCHW.shape[2:]
        return (height // patch) * (width // patch) if isinstance(patch, int) else 0

    @torch.inference_mode()
    def _choose_pool(self, pooling: str) -> Callable[[Any, int], Tensor]:
        """Try the model on a blank image: what it returns says what can be its embedding."""
        blank = self.collate([self._processed(Image.new("RGB", (64, 64)))])
        output, places = self.model(pixel_values=blank), self._places(blank)
        hidden = output.last_hidden_state
        has_cls = hidden.dim() == 3 and 0 < places < hidden.shape[1]
        if pooling == "cls" and not has_cls:
            raise ConfigError(f"{type(self.model).__name__} has no CLS token: use pooling auto")
        if pooling == "auto" and self._pools_itself(output):
            return pool_own
        return pool_cls if pooling != "mean" and has_cls else pool_mean

    def _pools_itself(self, output: Any) -> bool:  # noqa: ANN401 - any architecture's output
        # The dense pooler of a ViT is a layer for its pretraining, and often not trained at all.
        has_dense = hasattr(getattr(self.model, "pooler", None), "dense")
        return getattr(output, "pooler_output", None) is not None and not has_dense


def pool_own(output: Any, _: int) -> Tensor:  # noqa: ANN401 - any architecture's output
    """Return what the model pools itself: an average of places, attention, or its CLS token."""
    pooled_ND: Tensor = output.pooler_output.flatten(1)
    return pooled_ND


def pool_cls(output: Any, _: int) -> Tensor:  # noqa: ANN401 - any architecture's output
    """Return the first token."""
    first_ND: Tensor = output.last_hidden_state[:, 0]
    return first_ND


def pool_mean(output: Any, places: int) -> Tensor:  # noqa: ANN401 - any architecture's output
    """Average over the places of the image, without CLS and register tokens."""
    hidden: Tensor = output.last_hidden_state
    return hidden.mean((2, 3)) if hidden.dim() == 4 else hidden[:, -places:].mean(1)


class Timm(_Network):
    """A model of timm, from a folder as its hub has them: config.json and model.safetensors."""

    def __init__(self, config: EncoderConfig) -> None:
        # An extra. It needs a torchvision built for the installed torch, and fails without.
        try:
            from timm import create_model
            from timm.data import create_transform, resolve_model_data_config
        except (ImportError, RuntimeError) as error:
            raise ConfigError(
                f"encoder timm cannot import timm ({first_line(error)}): "
                "pip install 'umc_ray[timm]', with a torchvision that fits torch"
            ) from error

        folder = weights_folder(config, "config.json", "model.safetensors")
        model = create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
        super().__init__(config, model)
        self.transform = create_transform(**resolve_model_data_config(model), is_training=False)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode, resize, crop and scale as the model was trained."""
        return self.transform(decode_rgb(payload))


class EfficientNetLite(_Network):
    """EfficientNet-Lite0, which `umc models` fetches."""

    def __init__(self, config: EncoderConfig) -> None:
        folder = weights_folder(config, "config.json", "model.safetensors")
        trained = _trained(folder)
        self.image_px = config.image_px or trained["input_size"][-1]
        super().__init__(config, _efficientnet(folder))
        self.mean, self.std = (
            torch.tensor(trained[name], device=self.device).view(1, 3, 1, 1)
            for name in ("mean", "std")
        )

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to a square."""
        size = (self.image_px, self.image_px)
        return torch.from_numpy(
            np.array(decode_rgb(payload).resize(size, Image.Resampling.BICUBIC))
        )

    def collate(self, prepared: Sequence[Any]) -> Tensor:
        """Return a batch of images NCHW on the device, scaled as the model was trained."""
        images_NHWC = to_device(self.device, torch.stack(list(prepared)))
        return (images_NHWC.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std


def _trained(folder: Path) -> dict[str, Any]:
    """Return how the images were prepared that the network was trained on."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    architecture = config.get("architecture")
    if architecture != "tf_efficientnet_lite0":
        raise ConfigError(
            f"encoder efficientnet_lite: {folder} holds {architecture}, not tf_efficientnet_lite0"
        )
    trained: dict[str, Any] = config["pretrained_cfg"]
    return trained


def _efficientnet(folder: Path) -> EfficientNetLite0:
    network = EfficientNetLite0()
    tensors = load_file(folder / "model.safetensors")
    network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("classifier.")})
    return network
