"""Fine-tuning by low-rank updates: each linear layer gets a small matrix product beside it.

After training, the products are added to the weights, so that scoring costs no more than before.

Source: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from umc_ray.errors import ConfigError
from umc_ray.specialists.full import Full
from umc_ray.specialists.network import Network, layers_of


class Lora(Full):
    """Trains low-rank updates of all linear layers, whatever the architecture calls them."""

    learning_rate: ClassVar[float] = 1e-3

    @staticmethod
    def check_installed() -> None:
        """Make sure that peft is there.

        Raises:
            ConfigError: it is not.
        """
        try:
            import peft  # noqa: F401 - an extra
        except ImportError as error:
            raise ConfigError(
                "specialists of kind lora need peft: pip install --editable '.[lora]'"
            ) from error

    def network(self, outputs: int) -> Network:
        """Return a network whose weights are frozen beside their updates."""
        self.check_installed()
        from peft import LoraConfig, inject_adapter_in_model  # an extra

        network = super().network(outputs)
        rank = self.config.rank
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=_linear(network.model))
        inject_adapter_in_model(settings, network.model)
        return network

    def tensors(self, network: Network) -> dict[str, Tensor]:
        """Add the updates to the weights, and return what has to be stored."""
        _merge(network.model)
        return super().tensors(network)


def _linear(model: nn.Module) -> list[str]:
    """Name the linear layers among those that the input passes one after another.

    A sequence-to-sequence model has such layers twice.
    """
    whole: Any = model
    settings = getattr(model, "config", None)
    is_pair = getattr(settings, "is_encoder_decoder", False) and hasattr(model, "get_decoder")
    halves = [whole.get_encoder(), whole.get_decoder()] if is_pair else [whole]
    inside = {id(module) for half in halves for module in layers_of(half).modules()}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside
    ]
    if not names:
        raise ConfigError(
            f"{type(model).__name__} has no linear layers to update: use kind top_layers or full"
        )
    return names


def _merge(model: nn.Module) -> None:
    """Put each layer back in its place, its update added to its weight."""
    from peft.tuners.lora import Linear

    adapted: list[tuple[str, Any]] = [
        (name, module) for name, module in model.named_modules() if isinstance(module, Linear)
    ]
    for name, module in adapted:
        module.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
