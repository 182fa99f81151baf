"""A campaign whose samples have several labels, with two encoders, published without training."""

import torch

from tests import tiny
from tests.pools import write_ensemble
from umc_ray.campaign.publish import publish_round
from umc_ray.campaign.run import Run
from umc_ray.config.loading import load_campaign
from umc_ray.methods import heads

LABELS = ("account", "delivery", "payment")
THRESHOLDS = [0.4, 0.5, 0.6]
TEXTS = ["good great word1", "sad word2", "fine poor word3 word4", "word5", "bad bad bad"]


def write_topics(folder, unpublished=False):
    """Write the campaign and return its file; with a second task that has no specialists yet."""
    tiny.write_encoder(folder / "first", seed=1)
    tiny.write_encoder(folder / "second", seed=2)
    tiny.write_csv(folder / "mail.csv", [{"text": text} for text in TEXTS])
    encoders = {
        name: {"kind": "static_text", "path": name, "workers": 1} for name in ("first", "second")
    }
    task = {
        "kind": "multi_label",
        "labels": list(LABELS),
        "encoders": encoders,
        "domains": {"mail": {"source": "mail.csv", "text": "text"}},
    }
    tasks = {"topics": task, "later": task} if unpublished else {"topics": task}
    values = {"name": "topics", "storage": "runs", "tasks": tasks}
    budget = {"labels": 4, "per_round": 2}
    path = tiny.write_campaign(folder, {**values, "budget": budget, "ingest": {"rows_per_part": 2}})
    publish_topics(Run(load_campaign(path)))
    return path


def publish_topics(run, certificate=None, specialists=("first", "second", "both")):
    """Publish random specialists; `both` stands for a second one of the first encoder."""
    calibration = {"scales": [1.0, 1.5, 2.0], "shifts": [0.0, 0.2, -0.2]}
    members = {name: (_head(seed), calibration) for seed, name in enumerate(specialists)}
    encoders = {name: "second" if name == "second" else "first" for name in members}
    folder = f"models/topics/{len(members):04d}"
    ref = write_ensemble(run.storage, members, folder, {"thresholds": THRESHOLDS}, encoders)
    publish_round(run.storage, run.config, 1, {"topics": ref}, {"topics": certificate})


def _head(seed):
    generator = torch.Generator().manual_seed(seed)
    first = heads.start("linear", 1, 8, len(LABELS), 0, seed)
    return {
        name: value + torch.randn(value.shape, generator=generator) for name, value in first.items()
    }
