"""The campaign file that `umc init` writes: what one has to fill in, then every other option."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from umc_ray.config.campaign import BudgetConfig, CampaignConfig
from umc_ray.config.domain import DomainConfig
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.section import Section
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError

HEAD = """\
# What this campaign is called, and where it keeps everything (a folder or s3://bucket/prefix).
name: my-campaign
storage: ./runs

tasks:
$TASK
    domains:                              # sources of samples; the budget is split over them
      news: {source: data/news.csv, text: $TEXT}
      forum: {source: "data/forum/*.jsonl", text: $TEXT, cost_per_label: 2.0}
"""

ENCODERS = (
    "    encoder: {kind: static_text, path: models/wordllama-256}",
    "    # encoder: {kind: transformers, path: models/all-minilm-l6-v2}   # slower, better",
    "    # encoder: {kind: efficientnet_lite, path: models/efficientnet-lite0}   # images",
    "    # encoder: {kind: transformers_image, path: facebook/dinov2-small}   # or a folder",
    "    # encoder: {kind: gradients}          # small images, no weights needed",
    "    # encoder: {kind: table}              # with columns: [age, city] of a domain, no text",
)

KINDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "classification": (
            """\
  topics:                                 # a task: one question with its label set
    kind: classification                  # or another: umc init --kind NAME
    labels: [sport, politics, science]""",
            "body",
        ),
        "multi_label": (
            """\
  topics:                                 # a task: one question with its label set
    kind: multi_label                     # any number of labels, or none
    labels: [sport, politics, science]""",
            "body",
        ),
        "regression": (
            """\
  similar:                                # a task: one question whose answer is a number
    kind: regression
    range: [0, 5]                         # the lowest and the highest answer
    # text: body                          # in a domain: one text, in place of a pair""",
            "[first, second]",
        ),
        "extractive_qa": (
            """\
  reading:                                # a task: questions that their contexts answer
    kind: extractive_qa
    encoder: {kind: transformers, path: models/all-minilm-l6-v2, max_tokens: 384}   # is trained""",
            "[question, context]",
        ),
        "generation": (
            """\
  german:                                 # a task: texts to write, such as translations
    kind: generation
    max_answer_bytes: 500                 # longer answers are refused
    encoders:
      wording: {kind: ngrams}             # finds similar samples
      # writer: {kind: transformers, path: models/t5-small, prefix: "translate to German: "}""",
            "english",
        ),
    }
)
"""By kind, how a task begins, with its encoder if not any will do, and the columns with texts."""

DEFAULTS = "\n# Everything below is a default: leave it out or change it."
OPTIONS = """
# The parts of a task have more options, with these defaults. Numbers, dates, yes and no have to be
# in quotes where they are names or labels: labels: ["yes", "no"]."""

EXAMPLE_BUDGET = BudgetConfig(labels=600, per_round=100)
PARTS: Mapping[str, type[Section]] = MappingProxyType(
    {
        "tasks.NAME": TaskConfig,
        "tasks.NAME.domains.NAME": DomainConfig,
        "tasks.NAME.encoder, or tasks.NAME.encoders.NAME": EncoderConfig,
        "tasks.NAME.specialists.NAME": SpecialistConfig,
    }
)

FILLED_IN = ("name", "storage", "tasks", "budget")
"""What HEAD has already."""


def check_kind(kind: str) -> None:
    """Refuse a kind of task that there is not.

    Raises:
        ConfigError: there is no such kind of task.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")


def config_template(kind: str = "classification") -> str:
    """Return the text of a campaign file with every option and what it means.

    Raises:
        ConfigError: there is no such kind of task.
    """
    check_kind(kind)
    task, text = KINDS[kind]
    encoders = () if "encoder" in task else ENCODERS
    lines = [
        HEAD.replace("$TASK", "\n".join((task, *encoders))).replace("$TEXT", text),
        *_section("budget", EXAMPLE_BUDGET),
        DEFAULTS,
    ]
    for name, field in CampaignConfig.model_fields.items():
        if name in FILLED_IN:
            continue
        if isinstance(field.default, Section):
            lines += ["", *_section(name, field.default)]
        else:
            lines.append(f"{name}: {_plain(field.default)}{_comment(field)}")
    lines.append(OPTIONS)
    for place, part in PARTS.items():
        lines += ["#", f"# {place}:", *map(_option, part.model_fields.items())]
    return "\n".join(lines) + "\n"


def _section(name: str, values: Section) -> list[str]:
    options = type(values).model_fields.items()
    return [
        f"{name}:",
        *(f"  {key}: {_plain(getattr(values, key))}{_comment(field)}" for key, field in options),
    ]


def _option(item: tuple[str, FieldInfo]) -> str:
    """Return an option as a comment, with its default if it has one that says something."""
    key, field = item
    is_said = not field.is_required() and field.default not in (None, [], {}, "")
    return f"#   {key}:{f' {_plain(field.default)}' if is_said else ''}{_comment(field)}"


def _plain(value: Any) -> str:  # noqa: ANN401 - any default
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def _comment(field: FieldInfo) -> str:
    return f"    # {field.description}" if field.description else ""
