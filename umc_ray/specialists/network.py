"""A pretrained network with a linear layer on its embedding: what fine-tuning trains.

Suffixes: N samples, D embedding dimension, C outputs.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.encoder import Half
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import ConfigError
from umc_ray.records import LearnedFrom
from umc_ray.specialists.answers import OnTokens, answers_of
from umc_ray.specialists.writer import Writer

DROPOUT = 0.1
"""Of the embedding, while training."""


class TrainableEncoder(Protocol):
    """An encoder whose embedding passes gradients."""

    column: str
    device: str
    model: nn.Module

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - a Payload, by column
        """Do the work that needs no model."""
        ...

    def autocast(self) -> torch.autocast:
        """Return the context that computes in the encoder's precision."""
        ...

    def collate(self, prepared: Sequence[Any]) -> Any:  # noqa: ANN401 - as the model takes it
        """Return a batch on the device."""
        ...

    def embed(self, batch: Any) -> Tensor:  # noqa: ANN401 - of `collate`
        """Return the embeddings ND of a batch, or of its tokens."""
        ...


class Network(nn.Module):
    """An encoder's network, a copy of its own, with a linear layer on the embedding."""

    def __init__(self, encoder: TrainableEncoder, dimension: int, outputs: int) -> None:
        """Copy the encoder's network; the new layer is drawn at random.

        For no outputs there is none: what the encoder gives is taken as it is.
        """
        super().__init__()
        self.encoder = copy.copy(encoder)
        self.encoder.model = self.model = copy.deepcopy(encoder.model)
        self.dropout: nn.Module = nn.Identity()
        self.output: nn.Module = nn.Identity()
        if outputs:
            self.dropout = nn.Dropout(DROPOUT)
            self.output = nn.Linear(dimension, outputs, device=encoder.device)

    def forward(self, batch: Any) -> Tensor:  # noqa: ANN401 - of `collate`
        """Return outputs NC, or what they are made of: `answers_of` the encoder."""
        outputs_NC: Tensor = self.output(self.dropout(self.encoder.embed(batch)))
        return outputs_NC

    def train(self, mode: bool = True) -> "Network":
        """Leave normalization over batches as it was pretrained: small batches would spoil it."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def trainable_encoder(
    config: EncoderConfig,
    learned_from: LearnedFrom = "embedding",
    outputs: int = 0,
    longest: int = 0,
) -> TrainableEncoder:
    """Load an encoder that can be fine-tuned.

    Of one that writes, `outputs` and `longest` are how many numbers it gives for a sample, and how
    many tokens the answers have that it has learned.

    Raises:
        ConfigError: it has no network, or not one for what is to be learned, or its weights are not
            where the campaign file says.
    """
    if learned_from == "texts" and config.kind == "transformers":
        return Writer(config, outputs, longest)
    encoder: Any = load_encoder(config)
    if not isinstance(getattr(encoder, "model", None), nn.Module):
        raise ConfigError(f"an encoder of kind {config.kind} has no network to fine-tune")
    found: TrainableEncoder = OnTokens(encoder) if learned_from == "tokens" else encoder
    return found


def layers_of(model: nn.Module) -> nn.ModuleList | nn.Sequential:
    """Return the layers that a network's input passes one after another.

    They are the longest list of modules of one type; where there is none, the stages of a
    convolutional network.

    Raises:
        ConfigError: none are found.
    """
    lists = [each for each in model.modules() if isinstance(each, nn.ModuleList)]
    stacks = [each for each in lists if len(each) > 1 and len({type(one) for one in each}) == 1]
    stages = getattr(model, "blocks", None)
    if not stacks and isinstance(stages, nn.Sequential):
        return stages
    if not stacks:
        raise ConfigError(f"{type(model).__name__} has no layers one after another: use kind full")
    return max(stacks, key=len)


def changed(network: Network, base: nn.Module) -> dict[str, Tensor]:
    """Return what training changed in a network: some tensors of the model, and the output."""
    before = base.state_dict()
    tensors = {
        f"model.{name}": value.detach().cpu().contiguous()
        for name, value in network.model.state_dict().items()
        if name not in _tied(network.model) and not torch.equal(value, before[name])
    }
    output = {f"output.{name}": value for name, value in network.output.state_dict().items()}
    return tensors | {name: value.detach().cpu() for name, value in output.items()}


def _tied(model: nn.Module) -> set[str]:
    """Name the parameters that are others under a second name."""
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return every - {name for name, _ in model.named_parameters()}


def restored(network: Network, tensors: Mapping[str, Tensor]) -> Network:
    """Put what training changed into a network.

    Raises:
        ConfigError: it was another network.
    """
    unknown = network.load_state_dict(dict(tensors), strict=False).unexpected_keys
    if unknown:
        raise ConfigError(
            f"{type(network.model).__name__} has no {unknown[0]}: a specialist was fine-tuned from "
            "another network"
        )
    return network.eval()


class TunedEncoder:
    """A fine-tuned network as an encoder: its embeddings are the outputs NC of a specialist."""

    def __init__(self, encoder: TrainableEncoder, network: Network) -> None:
        self.network = network
        self.column, self.prepare = encoder.column, encoder.prepare

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Any]) -> Half:
        """Return the outputs of a batch."""
        encoder = self.network.encoder
        answers = answers_of(encoder)
        with encoder.autocast():
            logits = torch.empty(0, device=encoder.device)
            if not answers.writes:
                logits = self.network(encoder.collate(prepared)).float()
            outputs_NC = answers.outputs(logits, prepared)
        return half(outputs_NC)


def half(outputs_NC: Tensor) -> Half:
    """Return outputs as they are stored."""
    return np.asarray(outputs_NC.float().cpu().numpy(), dtype=np.float16)
