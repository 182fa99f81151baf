"""The specialists of a task: the members of its ensemble."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Self

from pydantic import Field, model_validator

from umc_ray.config.section import Section, check_options
from umc_ray.records import LearnedFrom

LEARNED_BY_TREES = ("classification", "multi_label", "regression")
"""Kinds of tasks that a specialist of kind trees can learn."""

WITH_CLASSES = ("classification",)
"""Kinds of tasks whose samples have one class each, which can be balanced."""

LEARNS_FROM: Mapping[str, tuple[LearnedFrom, ...]] = MappingProxyType(
    {
        "linear": ("embedding",),
        "mlp": ("embedding",),
        "trees": ("embedding",),
        "memory": ("texts",),
        "top_layers": ("embedding", "tokens"),
        "lora": ("embedding", "tokens", "texts"),
        "full": ("embedding", "tokens", "texts"),
    }
)
"""What kinds of specialists can learn from."""

FINE_TUNED = ("top_layers", "lora", "full")
"""Kinds of specialists that train the network of an encoder, and read the samples themselves."""

TUNABLE = ("transformers", "transformers_image", "timm", "efficientnet_lite")
"""Kinds of encoders that have such a network."""

READERS = ("transformers",)
"""Those whose network reads tokens, or writes texts."""

OPTIONS = {
    "hidden": ("mlp",),
    "layers": ("top_layers",),
    "rank": ("lora",),
    "epochs": FINE_TUNED,
    "learning_rate": FINE_TUNED,
    "accumulate": FINE_TUNED,
    "class_weights": ("linear", "mlp", *FINE_TUNED),
    "cache_gib": ("top_layers",),
}
"""The kinds of specialists that know an option, of those that not all know."""

AUTO_TUNED = ("transformers", "transformers_image")
"""Those that `specialists: auto` fine-tunes."""

SIDE_BY_SIDE, FINE = "side-by-side", "tuned"
"""What `specialists: auto` calls its members, or begins their names with."""


class SpecialistConfig(Section):
    """A member of the ensemble: what reads embeddings, or a fine-tuned network."""

    kind: Literal["linear", "mlp", "trees", "memory", "top_layers", "lora", "full"] = Field(
        "linear",
        description="a head over embeddings; linear, or mlp: with one hidden layer. trees: boosted "
        "or randomized decision trees over embeddings, for tables. memory: what was written for "
        "the nearest labeled samples, for texts. Or a copy of the encoder's network, fine-tuned; "
        "top_layers: the top layers only, the cheapest on a CPU; lora: "
        "low-rank updates of all layers; full: all parameters",
    )
    encoder: str | list[str] | None = Field(
        None,
        description="name of the encoder whose embeddings it reads, or a list of them, which it "
        "reads side by side; default: the first",
    )
    domain: str | None = Field(
        None, description="its domain of expertise; default: none, a generalist"
    )
    hidden: int = Field(64, gt=0, description="width of the hidden layer of an mlp")
    layers: int = Field(2, gt=0, description="how many layers train (top_layers)")
    rank: int = Field(16, gt=0, description="rank of the updates (lora)")
    epochs: int = Field(
        3,
        gt=0,
        description="most passes over the labels (top_layers, lora, full); fewer where held-out "
        "log-loss says so",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="of the pretrained layers; default: 5e-4 for top_layers, 1e-3 for lora, 1e-4 "
        "for full",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: in training, each class weighs the same, however rare; calibration "
        "and held-out log-loss count all labels alike (classification; not trees)",
    )
    accumulate: int = Field(
        1,
        gt=0,
        description="batches of 16 samples that make one step, as if they were a single larger "
        "one, in the memory of one (top_layers, lora, full)",
    )
    cache_gib: float = Field(
        4.0,
        ge=0,
        description="disk space for the output of the frozen layers, which then run once for "
        "each sample instead of once a round; 0: none (top_layers)",
    )

    @model_validator(mode="after")
    def _has_what_its_kind_knows(self) -> Self:
        check_options(self, "specialist", self.kind, OPTIONS)
        return self

    @property
    def head(self) -> Literal["linear", "mlp"]:
        """The shape of a head."""
        return "mlp" if self.kind == "mlp" else "linear"

    @property
    def fine_tunes(self) -> bool:
        """Whether it trains the network of its encoder."""
        return self.kind in FINE_TUNED

    @property
    def encoders(self) -> tuple[str, ...]:
        """The names of the encoders that it reads."""
        named = [self.encoder] if isinstance(self.encoder, str) else self.encoder or []
        return tuple(named)
