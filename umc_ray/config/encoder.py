"""The encoders of a task: frozen models that turn samples into embeddings."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.section import Location, Section

Input = Literal["text", "image"]

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
"""A model on a hub: owner/name, or owner/name@revision."""

EncoderKind = Literal[
    "static_text",
    "ngrams",
    "transformers",
    "transformers_image",
    "timm",
    "efficientnet_lite",
    "gradients",
    "pixels",
    "given",
    "table",
]

READS: dict[EncoderKind, Literal[Input, "embedding"]] = {
    "static_text": "text",
    "ngrams": "text",
    "transformers": "text",
    "transformers_image": "image",
    "timm": "image",
    "efficientnet_lite": "image",
    "gradients": "image",
    "pixels": "image",
    "given": "embedding",
    "table": "text",
}
"""What each kind of encoder reads."""

NETWORKS = ("transformers", "transformers_image", "timm", "efficientnet_lite")
"""Kinds whose precision can be chosen."""

GRAY = ("gradients", "pixels")
WITHOUT_WEIGHTS = (*GRAY, "ngrams", "given", "table")
SIZED = (*GRAY, "efficientnet_lite")
POOLINGS = {"transformers": ("mean", "cls", "last"), "transformers_image": ("mean", "cls")}
"""What the kinds with a pooling of their choice can do, beside auto."""


class EncoderConfig(Section):
    """The frozen model that turns a sample into an embedding, once."""

    kind: EncoderKind = Field(
        description="static_text: mean of word vectors; ngrams: sequences of characters; "
        "transformers: a language model; "
        "transformers_image, timm, efficientnet_lite: a pretrained vision model; "
        "gradients: edges of small images; pixels: the image itself; "
        "given: embeddings of your own; table: the columns of a table"
    )
    path: Location | None = Field(
        None,
        description="folder of the weights, or a model on the Hugging Face hub: owner/name, or "
        "owner/name@revision; ngrams, gradients, pixels, given and table have none",
    )
    batch_size: int = Field(
        64,
        gt=0,
        description="samples that an encoder gets at once; on a CPU, a network takes them in "
        "smaller forward passes that fit the caches",
    )
    workers: int | None = Field(
        None, gt=0, description="actors, each with a copy of the model; default: one per CPU or GPU"
    )
    max_workers: int | None = Field(
        None, gt=0, description="grow to this many actors as the cluster grows; default: no growth"
    )
    num_gpus: float = Field(0.0, ge=0, description="GPUs per actor; 0 runs on the CPU")
    image_px: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="images are resized to a square of this side (gradients, pixels: 32 by "
        "default; efficientnet_lite: 224, and 96 is 5 times as fast); other models know their size",
    )
    max_tokens: int = Field(256, gt=0, description="longer texts are truncated")
    prefix: str = Field(
        "",
        description="put before each text if the model's card asks for it, such as 'query: ' "
        "(transformers)",
    )
    pooling: Literal["auto", "mean", "cls", "last"] = Field(
        "auto",
        description="the embedding (transformers, transformers_image): the mean of the tokens, "
        "the CLS token, or the last token; auto: as the model's folder says, else the mean for "
        "texts, and for images what the model pools itself, else CLS",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="of the network (transformers, transformers_image, timm, efficientnet_lite); "
        "auto: bf16 on a GPU, and on a CPU with instructions for it (AVX512-BF16 or AMX), as the "
        "machine decides on which the campaign begins; else fp32",
    )
    dimension: int | None = Field(None, gt=0, description="numbers of an embedding (given)")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.kind not in WITHOUT_WEIGHTS and self.path is None:
            raise ValueError(
                f"encoder kind {self.kind} needs path: the folder of its weights, or owner/name"
            )
        if self.max_workers is not None and self.max_workers < (self.workers or 1):
            raise ValueError(f"max_workers {self.max_workers} < workers {self.workers}")
        return self

    @model_validator(mode="after")
    def _uses_all_settings(self) -> Self:
        """Refuse a setting that this kind would ignore."""
        if self.kind in WITHOUT_WEIGHTS and self.path is not None:
            raise ValueError(f"encoder kind {self.kind} loads no weights; remove path")
        if self.image_px is not None and self.kind not in SIZED:
            raise ValueError(f"encoder kind {self.kind} knows its image size; remove image_px")
        if self.prefix and self.kind != "transformers":
            raise ValueError(f"encoder kind {self.kind} does not use a prefix; remove it")
        if (self.kind == "given") != (self.dimension is not None):
            raise ValueError(f"only encoder kind given has a dimension, and needs it: {self.kind}")
        if self.pooling not in ("auto", *POOLINGS.get(self.kind, ())):
            raise ValueError(f"encoder kind {self.kind} has no pooling {self.pooling}")
        if self.precision != "auto" and self.kind not in NETWORKS:
            raise ValueError(f"encoder kind {self.kind} has no network; remove precision")
        return self
