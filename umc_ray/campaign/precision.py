"""The precision of a campaign's encoders, which the machine decides that begins it.

campaign.json keeps it. So the features of a run have one precision, whichever machine resumes or
serves it; bfloat16 is slower on a processor without it, but gives nearly the same numbers.
"""

from collections.abc import Mapping
from typing import Any

from umc_ray.campaign.frozen import FROZEN, hash_key, precision_key
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.encoder import NETWORKS, EncoderConfig
from umc_ray.config.task import TaskConfig
from umc_ray.encoders.precision import Precision, with_precision
from umc_ray.storage import Storage


def settle_precision(config: CampaignConfig, storage: Storage) -> CampaignConfig:
    """Replace each precision of auto by that of the run directory, or else by what is fast here."""
    encoders = [each for task in config.tasks.values() for each in task.named_encoders.values()]
    if not any(each.precision == "auto" and each.kind in NETWORKS for each in encoders):
        return config
    known = storage.read_json(FROZEN) if storage.exists(FROZEN) else {}
    tasks = {name: _settled(name, task, known) for name, task in config.tasks.items()}
    return config.model_copy(update={"tasks": tasks})


def _settled(name: str, task: TaskConfig, known: Mapping[str, Any]) -> TaskConfig:
    def settle(encoder: str, config: EncoderConfig) -> EncoderConfig:
        return with_precision(config, _recorded(name, encoder, known))

    encoders = {encoder: settle(encoder, each) for encoder, each in task.encoders.items()}
    single = None if task.encoder is None else settle(task.encoder.kind, task.encoder)
    return task.model_copy(update={"encoder": single, "encoders": encoders})


def _recorded(task: str, encoder: str, known: Mapping[str, Any]) -> Precision | None:
    """Return an encoder's precision in a run directory; fp32 names features of any before that."""
    found: Precision | None = known.get(precision_key(task, encoder))
    return "fp32" if found is None and hash_key(task, encoder) in known else found
