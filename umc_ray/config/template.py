"""The campaign file that `umc init` writes: what one has to fill in, then every default."""

from typing import Any

import yaml
from pydantic.fields import FieldInfo

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.section import Section

HEAD = """\
# What this campaign is called, and where it keeps everything (a folder or s3://bucket/prefix).
name: my-campaign
storage: ./runs

tasks:
  topics:                                 # a task: one question with its label set
    kind: classification                  # or multi_label: any number of labels
    labels: [sport, politics, science]
    encoder: {kind: static_text, path: models/wordllama-256}
    # encoder: {kind: transformers, path: models/all-minilm-l6-v2}   # slower, better
    # encoder: {kind: efficientnet_lite, path: models/efficientnet-lite0}   # images
    # encoder: {kind: transformers_image, path: facebook/dinov2-small}   # or a folder
    # encoder: {kind: gradients}          # small images, no weights needed
    domains:                              # sources of samples; the budget is split over them
      news: {source: data/news.csv, text: body}
      forum: {source: "data/forum/*.jsonl", text: text, cost_per_label: 2.0}

budget: {labels: 600, per_round: 100}

# Everything below is a default: leave it out or change it.
"""

FILLED_IN = ("name", "storage", "tasks", "budget")
"""What HEAD has already."""


def config_template() -> str:
    """Return the text of a campaign file with every default and what it means."""
    lines = [HEAD]
    for name, field in CampaignConfig.model_fields.items():
        if name in FILLED_IN:
            continue
        default = field.default
        if isinstance(default, Section):
            lines.append(f"{name}:")
            lines += [
                f"  {key}: {_plain(getattr(default, key))}{_comment(inner)}"
                for key, inner in type(default).model_fields.items()
            ]
        else:
            lines.append(f"{name}: {_plain(default)}")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:  # noqa: ANN401 - any default
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def _comment(field: FieldInfo) -> str:
    return f"    # {field.description}" if field.description else ""
