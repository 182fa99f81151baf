"""The kinds of encoders, and how one is loaded.

An encoder is loaded once per process. Its hash covers the weights and every setting that decides
the numbers, so that features of another encoder are never used as its own.
"""

from collections.abc import Callable
from functools import lru_cache

from umc_ray.config.encoder import READS, EncoderConfig
from umc_ray.encoders.encoder import Encoder
from umc_ray.encoders.given import Given
from umc_ray.encoders.image import Gradients, Pixels
from umc_ray.encoders.ngrams import NGrams
from umc_ray.encoders.precision import precision_of
from umc_ray.encoders.pretrained_image import EfficientNetLite, Timm, TransformersImage
from umc_ray.encoders.table import Table, fit_hash
from umc_ray.encoders.text import StaticText, TransformersText
from umc_ray.encoders.weights import weights_hash
from umc_ray.ingest import pixels
from umc_ray.methods.identity import fingerprint

SPEED = {"path", "batch_size", "workers", "max_workers", "num_gpus"}
"""Settings that do not change the numbers; a path stands for the weights there."""

ENCODERS: dict[str, Callable[[EncoderConfig], Encoder]] = {
    "static_text": StaticText,
    "ngrams": NGrams,
    "transformers": TransformersText,
    "transformers_image": TransformersImage,
    "timm": Timm,
    "efficientnet_lite": EfficientNetLite,
    "gradients": Gradients,
    "pixels": Pixels,
    "given": lambda _: Given(),
    "table": Table.of,
}


def encoder_hash(config: EncoderConfig) -> str:
    """Return the name of the features that this encoder makes."""
    decides = config.model_dump(exclude={*SPEED, "precision"})
    if precision_of(config) != "fp32":  # features from before there was a choice are found again
        decides["precision"] = precision_of(config)
    if config.kind != "given":
        del decides["dimension"]  # the others know it
    if READS[config.kind] == "image":
        decides["pixels"] = pixels.VERSION
    weights = fit_hash(config) if config.kind == "table" else _weights_hash(config.path)
    return fingerprint({**decides, "weights": weights})


def settings_hash(config: EncoderConfig) -> str:
    """Return a hash of what decides an encoder before a run: not of what it learns from a pool."""
    return encoder_hash(
        config.model_copy(update={"path": None}) if config.kind == "table" else config
    )


@lru_cache(maxsize=4)
def load_encoder(config: EncoderConfig) -> Encoder:
    """Load an encoder, once per process.

    Raises:
        ConfigError: its weights are not where the campaign file says, or it has to learn first.
    """
    return ENCODERS[config.kind](config)


@lru_cache(maxsize=16)
def _weights_hash(path: str | None) -> str | None:
    return None if path is None else weights_hash(path)
