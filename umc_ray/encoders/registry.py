"""The kinds of encoders, and how one is loaded.

An encoder is loaded once per process. Its hash covers the weights and every setting that decides
the numbers, so that features of another encoder are never used as its own.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from umc_ray.config.task import EncoderConfig
from umc_ray.encoders.encoder import Encoder
from umc_ray.encoders.image import Gradients, Pixels
from umc_ray.encoders.text import StaticText, TransformersText
from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint

SPEED = {"path", "batch_size", "workers", "max_workers", "num_gpus"}
"""Settings that do not change the numbers; a path stands for the weights there."""

ENCODERS: dict[str, type[StaticText | TransformersText | Gradients | Pixels]] = {
    "static_text": StaticText,
    "transformers": TransformersText,
    "gradients": Gradients,
    "pixels": Pixels,
}


def encoder_hash(config: EncoderConfig) -> str:
    """Return the name of the features that this encoder makes."""
    decides = config.model_dump(exclude=SPEED)
    return fingerprint({**decides, "weights": _weights_hash(config.path)})


@lru_cache(maxsize=4)
def load_encoder(config: EncoderConfig) -> Encoder:
    """Load an encoder, once per process.

    Raises:
        ConfigError: its weights are not where the campaign file says.
    """
    return ENCODERS[config.kind](config)


@lru_cache(maxsize=16)
def _weights_hash(path: str | None) -> str | None:
    if path is None:
        return None
    if not Path(path).is_dir():
        raise ConfigError(f"encoder path {path} is not a folder")
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
