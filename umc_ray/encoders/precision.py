"""The precision of a network: float32, or autocast to bfloat16.

`auto` depends on the processor, and features of two precisions must not be mixed. So a campaign
chooses once, on the machine that begins it, and its run directory keeps the choice.
"""

from typing import Literal

import torch

from umc_ray.config.encoder import NETWORKS, EncoderConfig

Precision = Literal["fp32", "bf16"]


def precision_of(config: EncoderConfig) -> Precision:
    """Return an encoder's precision; auto is what is fast here."""
    if config.precision != "auto":
        return config.precision
    if config.kind not in NETWORKS:
        return "fp32"
    return "bf16" if config.num_gpus or cpu_has_bf16() else "fp32"


def with_precision(config: EncoderConfig, known: Precision | None = None) -> EncoderConfig:
    """Replace auto by a known precision, or else by what is fast here."""
    if config.kind not in NETWORKS or config.precision != "auto":
        return config
    return config.model_copy(update={"precision": known or precision_of(config)})


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def autocast(config: EncoderConfig) -> torch.autocast:
    """Return the context that a network runs in."""
    device = "cuda" if config.num_gpus else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=precision_of(config) == "bf16")
