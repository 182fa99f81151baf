"""Fine-tuning of the top layers: those below stay as they are, and run once for each sample.

With two layers of six, an epoch takes a third of the time that it takes with all of them; so does
scoring a pool, where the output of the frozen layers is kept.

Suffixes: N samples, T tokens or patches of a sample.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.encoder import Half, Payload
from umc_ray.errors import ConfigError
from umc_ray.specialists.answers import answers_of
from umc_ray.specialists.full import Full
from umc_ray.specialists.network import (
    Network,
    TrainableEncoder,
    half,
    layers_of,
    restored,
)

BATCH = 32
RETURNS_TUPLE = "returns_tuple"


class TopNetwork(Network):
    """A network without its lower layers: it is given their output."""

    def __init__(
        self,
        encoder: TrainableEncoder,
        dimension: int,
        outputs: int,
        top: int,
        returns_tuple: bool,
    ) -> None:
        """Copy the encoder's network; only its top layers have gradients."""
        super().__init__(encoder, dimension, outputs)
        self.lower: Sequence[Tensor] = ()
        layers = layers_of(self.model)
        first = first_layer(encoder, top)
        self.model.requires_grad_(False)
        for number in range(first):
            layers[number] = _Skip(layers[number], returns_tuple)
        for layer in list(layers)[first:]:
            layer.requires_grad_(True)
        layers[first].register_forward_pre_hook(self._put_in, with_kwargs=True)

    def forward(self, batch: Any, lower: Sequence[Tensor] = ()) -> Tensor:  # noqa: ANN401
        """Return outputs_NC; `lower` is what the layers below gave for each sample, float16."""
        self.lower = lower
        return super().forward(batch)

    def _put_in(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Replace a layer's input by the output of the layers below."""
        first, *others = args or (kwargs.pop("hidden_states"),)
        stored = nn.utils.rnn.pad_sequence(list(self.lower), batch_first=True).to(first)
        return (stored, *others), kwargs


class TopLayers(Full):
    """Trains the top layers on the stored output of those below."""

    learning_rate: ClassVar[float] = 5e-4

    def __init__(
        self, encoder: TrainableEncoder, prepared: Sequence[Any], config: SpecialistConfig
    ) -> None:
        super().__init__(encoder, prepared, config)
        found = len(layers_of(encoder.model))
        if "layers" in config.model_fields_set and config.layers > found:
            raise ConfigError(f"layers: {config.layers}, but the network has {found}")
        self.lower, self.returns_tuple = lower_outputs(encoder, prepared, config.layers)

    @property
    def card(self) -> Mapping[str, object]:
        """What has to be known of the network's layers."""
        return {RETURNS_TUPLE: self.returns_tuple}

    def network(self, outputs: int) -> Network:
        """Return a network whose lower layers are replaced by their stored output."""
        layers, returns_tuple = self.config.layers, self.returns_tuple
        return TopNetwork(self.encoder, self.dimension, outputs, layers, returns_tuple)

    def outputs(self, network: nn.Module, rows: Sequence[int]) -> Tensor:
        """Return what the network's last layer gives for some of the samples."""
        batch = self.encoder.collate(self.samples(rows))
        lower = self.answers.rows([self.lower[row] for row in rows])
        logits: Tensor = network(batch, lower)
        return logits

    @staticmethod
    def load(
        encoder: TrainableEncoder,
        tensors: Mapping[str, Tensor],
        config: SpecialistConfig,
        card: Mapping[str, Any],
    ) -> "TopEncoder":
        """Return a trained network as an encoder."""
        outputs, dimension = tensors["output.weight"].shape
        network = TopNetwork(encoder, dimension, outputs, config.layers, card[RETURNS_TUPLE])
        return TopEncoder(encoder, restored(network, tensors), config.layers)


class TopEncoder:
    """A network with fine-tuned top layers as an encoder: frozen layers first, then those."""

    def __init__(self, encoder: TrainableEncoder, network: Network, top: int) -> None:
        self.encoder, self.network, self.top = encoder, network, top
        self.column, self.prepare = encoder.column, encoder.prepare

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Return the outputs of a batch."""
        return self.encode_lower(prepared, self.lower(prepared))

    def lower(self, prepared: Sequence[Any]) -> list[Tensor]:
        """Return the output of the frozen layers for each sample, T x D, float16."""
        return lower_outputs(self.encoder, prepared, self.top)[0]

    @torch.inference_mode()
    def encode_lower(self, prepared: Sequence[Any], lower: Sequence[Tensor]) -> Half:
        """Return the outputs of a batch, of which the output of the frozen layers is known."""
        size = BATCH if self.encoder.device == "cpu" else len(prepared)
        answers, parts = answers_of(self.encoder), list[Tensor]()
        for i in range(0, len(prepared), size):
            some = prepared[i : i + size]
            with self.encoder.autocast():
                logits = self.network(self.encoder.collate(some), answers.rows(lower[i : i + size]))
            parts.append(answers.outputs(logits.float(), some))
        return half(torch.cat(parts))


class KnownLower:
    """The samples of a pool with the output of the frozen layers, for `TopEncoder`."""

    def __init__(self, payload: Payload, lower: Tensor) -> None:
        self.payload, self.lower = payload, lower

    def __len__(self) -> int:
        """Return the length by which batches are made."""
        return len(self.payload)


class _Skip(nn.Module):
    """Stands where a layer was, and does nothing."""

    def __init__(self, layer: nn.Module, returns_tuple: bool) -> None:
        super().__init__()
        # Some models ask their layers what kind of attention they have.
        plain = {name: value for name, value in vars(layer).items() if not name.startswith("_")}
        self.__dict__.update(plain)
        self.returns_tuple = returns_tuple

    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor | tuple[Tensor]:
        return (hidden,) if self.returns_tuple else hidden


class _Seen(Exception):
    """A layer's input was seen: those above need not run."""


def first_layer(encoder: TrainableEncoder, top: int) -> int:
    """Return the number of the lowest layer that trains."""
    return max(len(layers_of(encoder.model)) - top, 0)


@torch.inference_mode()
def lower_outputs(
    encoder: TrainableEncoder, prepared: Sequence[Any], top: int
) -> tuple[list[Tensor], bool]:
    """Return what the top layers get to see of each sample, float16 without padding.

    Also whether layers return tuples.
    """
    layers, first = layers_of(encoder.model), first_layer(encoder, top)
    seen: list[Tensor] = []
    tuples = [False]

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])
        raise _Seen

    def note(_: nn.Module, __: object, output: object) -> None:
        tuples.append(isinstance(output, tuple))

    hooks = [layers[first].register_forward_pre_hook(look, with_kwargs=True)]
    if first:
        hooks.append(layers[first - 1].register_forward_hook(note))
    lower: list[Tensor] = []
    try:
        for start in range(0, len(prepared), BATCH):
            some = prepared[start : start + BATCH]
            batch = encoder.collate(some)
            _run_until_seen(encoder, batch)
            rows = _without_padding(seen.pop().half(), batch)
            lower += answers_of(encoder).by_sample(rows, some)
    finally:
        for hook in hooks:
            hook.remove()
    return lower, tuples[-1]


def _run_until_seen(encoder: TrainableEncoder, batch: object) -> None:
    try:
        with encoder.autocast():
            encoder.embed(batch)
    except _Seen:
        return


def _without_padding(hidden_NT: Tensor, batch: object) -> list[Tensor]:
    """Split a batch into its samples; texts have masks, and are padded on the right."""
    if not isinstance(batch, dict):
        return [each.clone() for each in hidden_NT]
    lengths_N = batch["attention_mask"].sum(1).tolist()
    return [each[:length].clone() for each, length in zip(hidden_NT, lengths_N, strict=True)]
