"""Fine-tuning of all parameters of a network."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from umc_ray.config.specialist import SpecialistConfig
from umc_ray.encoders.encoder import Encoder
from umc_ray.specialists.answers import answers_of
from umc_ray.specialists.network import (
    Network,
    TrainableEncoder,
    TunedEncoder,
    changed,
    restored,
)


class Full:
    """Trains a network on some prepared samples; other ways of fine-tuning train less of it."""

    learning_rate: ClassVar[float] = 1e-4

    def __init__(
        self, encoder: TrainableEncoder, prepared: Sequence[Any], config: SpecialistConfig
    ) -> None:
        self.encoder, self.prepared, self.config = encoder, prepared, config
        self.answers = answers_of(encoder)
        self.dimension = _dimension(encoder, prepared[0])

    @staticmethod
    def check_installed() -> None:
        """Make sure that the packages it needs are there.

        Raises:
            ConfigError: one is not; says how to install it.
        """

    def network(self, outputs: int) -> Network:
        """Return a network that is as it was pretrained; what is to be trained has gradients."""
        network = Network(self.encoder, self.dimension, outputs)
        for name, parameter in network.model.named_parameters():
            # Poolers that the embedding does not go through would never get a gradient.
            parameter.requires_grad_("pooler." not in name)
        return network

    def outputs(self, network: nn.Module, rows: Sequence[int]) -> Tensor:
        """Return what the network's last layer gives for some of the samples."""
        logits: Tensor = network(self.encoder.collate(self.samples(rows)))
        return logits

    def answer(self, network: Network, rows: Sequence[int]) -> Tensor:
        """Return the outputs NC of some of the samples."""
        answers, samples = answers_of(network.encoder), self.samples(rows)
        if answers.writes:
            return answers.outputs(torch.empty(0, device=self.encoder.device), samples)
        return answers.outputs(self.outputs(network, rows).float(), samples)

    def samples(self, rows: Sequence[int]) -> list[Any]:
        """Return some of the samples."""
        return [self.prepared[row] for row in rows]

    @property
    def card(self) -> Mapping[str, object]:
        """What has to be known to load a trained network, beside its tensors."""
        return self.answers.card

    @staticmethod
    def load(
        encoder: TrainableEncoder,
        tensors: Mapping[str, Tensor],
        config: SpecialistConfig,
        card: Mapping[str, Any],
    ) -> Encoder:
        """Return a trained network as an encoder, whose embeddings are its outputs.

        Raises:
            ConfigError: the encoder is another one than it was fine-tuned from.
        """
        outputs, dimension = (0, 0)
        if "output.weight" in tensors:
            outputs, dimension = tensors["output.weight"].shape
        return TunedEncoder(encoder, restored(Network(encoder, dimension, outputs), tensors))

    def tensors(self, network: Network) -> dict[str, Tensor]:
        """Return what has to be stored of a trained network."""
        return changed(network, self.encoder.model)


@torch.inference_mode()
def _dimension(encoder: TrainableEncoder, prepared: object) -> int:
    return int(encoder.embed(encoder.collate([prepared])).shape[-1])
