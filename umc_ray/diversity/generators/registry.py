"""The kinds of generators. A new kind is a file beside this one and a line here."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import GENERATIVE, SPEED, GeneratorConfig
from umc_ray.diversity.generators.diffusion import diffusion
from umc_ray.diversity.generators.generator import Embed, Generator, Payload
from umc_ray.diversity.generators.language_model import language_model
from umc_ray.diversity.generators.transforms import Transforms
from umc_ray.encoders.registry import encoder_hash, load_encoder
from umc_ray.encoders.weights import WEIGHTS
from umc_ray.errors import ConfigError
from umc_ray.methods.identity import fingerprint
from umc_ray.records import FloatArray

GENERATORS: Mapping[str, Callable[[GeneratorConfig, Embed], Generator]] = MappingProxyType(
    {
        "transforms": Transforms,
        "language_model": lambda config, _: language_model(config),
        "diffusion": lambda config, _: diffusion(config),
    }
)
"""By the name that a campaign file gives them."""

CODE = 1
"""Of the generators here; another number makes all samples anew."""


@lru_cache(maxsize=4)
def load_generator(config: GeneratorConfig, encoder: EncoderConfig) -> Generator:
    """Load a generator, once per process; the encoder is that of the task.

    Raises:
        ConfigError: its model is not where the campaign file says.
    """
    return GENERATORS[config.kind](config, embed_with(encoder))


def embed_with(config: EncoderConfig) -> Embed:
    """Return what embeds samples; its encoder is loaded when it is first used."""

    def embed(payloads: Sequence[Payload]) -> FloatArray:
        encoder = load_encoder(config)
        prepared = [encoder.prepare(each) for each in payloads]
        return encoder.encode(prepared).astype(np.float32)

    return embed


def version_of(config: GeneratorConfig, encoder: EncoderConfig) -> str:
    """Return 16 hex digits that change with whatever decides the samples.

    Raises:
        ConfigError: the model's folder does not exist.
    """
    decides = config.model_dump(mode="json", exclude=SPEED)
    if config.kind in GENERATIVE and config.path is not None:
        decides["weights"] = _weights_hash(config.path)
    if config.kind == "transforms":  # its samples depend on what looks alike
        decides["encoder"] = encoder_hash(encoder)
    return fingerprint({**decides, "code": CODE})


@lru_cache(maxsize=8)
def _weights_hash(path: str) -> str:
    """Return a hash of a model's files; a pipeline has them in folders of its own."""
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"generator path {path} is not a folder")
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted({file for pattern in WEIGHTS for file in folder.rglob(pattern)}):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
