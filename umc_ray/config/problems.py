"""Check the values of a campaign file, and say all that is wrong with them in its own words."""

import copy
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pydantic
import yaml

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.yaml_file import Problem, node_at, unquoted


@dataclass(frozen=True)
class _Mistake:
    """What pydantic found, and where that is in the file."""

    kind: str
    loc: tuple[str, ...]
    steps: tuple[str, ...]  # that are in the file
    is_branch: bool  # of values that may be of several types
    problem: Problem


def checked(
    values: dict[str, Any], root: yaml.Node
) -> tuple[CampaignConfig | None, Sequence[Problem]]:
    """Return the configuration, or all problems in the order of their lines."""
    config, mistakes = _validated(values, root)
    unknown = [each.loc for each in mistakes if each.kind == "extra_forbidden"]
    if unknown:  # they hide what pydantic checks last
        mistakes += _validated(_without(values, unknown), root)[1]
    return config, list(dict.fromkeys(_in_order(_without_echoes(mistakes))))


def _validated(
    values: dict[str, Any], root: yaml.Node
) -> tuple[CampaignConfig | None, list[_Mistake]]:
    try:
        return CampaignConfig.model_validate(values), []
    except pydantic.ValidationError as error:
        found = [_mistakes(dict(each), root) for each in error.errors()]
        return None, [mistake for mistakes in found for mistake in mistakes]


def _mistakes(error: dict[str, Any], root: yaml.Node) -> list[_Mistake]:
    """Return the mistakes in one message of pydantic, most often one."""
    loc, kind = [str(step) for step in error["loc"]], error["type"]
    steps, line, node = node_at(root, loc)
    is_branch = kind != "missing" and steps != loc
    named = steps[:-1] if kind == "extra_forbidden" else steps
    where = f"{'.'.join(named)}: " if named else ""
    return [
        _Mistake(kind, tuple(loc), tuple(steps), is_branch, Problem(line, where + message))
        for message in _messages(kind, loc[-1] if loc else "", node, error["msg"])
    ]


def _messages(kind: str, key: str, node: yaml.Node, message: str) -> list[str]:
    if kind == "missing":
        return [f"{key!r} is missing"]
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(key, _known_keys(), n=1)
        return [f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else "")]
    if kind == "string_type" and (advice := unquoted(node)):
        return [advice]
    return message.removeprefix("Value error, ").split("\n")


@cache
def _known_keys() -> tuple[str, ...]:
    """Return the keys of all sections."""
    schema = CampaignConfig.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    return tuple({key: None for each in sections for key in each.get("properties", {})})


def _without(values: dict[str, Any], unknown: Sequence[tuple[str, ...]]) -> dict[str, Any]:
    """Return a copy of the values without some keys."""
    values = copy.deepcopy(values)
    for *folders, last in unknown:
        place: Any = values
        for step in folders:
            place = place.get(step, place)  # a step can be the name of a type
        place.pop(last, None)
    return values


def _without_echoes(mistakes: Sequence[_Mistake]) -> list[_Mistake]:
    """Leave out what the other types of a value say about it, where one type says it better."""
    return [each for each in mistakes if not any(_echoes(each, other) for other in mistakes)]


def _echoes(mistake: _Mistake, other: _Mistake) -> bool:
    if not mistake.is_branch or other is mistake:
        return False
    if mistake.steps != other.steps:
        return other.steps[: len(mistake.steps)] == mistake.steps
    says_to_quote = "put it in quotes" in other.problem.message
    is_of_its_type = other.is_branch and not other.kind.endswith("_type")
    return (says_to_quote and mistake.problem != other.problem) or (
        is_of_its_type and mistake.kind.endswith("_type")
    )


def _in_order(mistakes: Sequence[_Mistake]) -> list[Problem]:
    """Sort by line; what is missing comes last, as a wrong key may be the reason."""
    ordered = sorted(mistakes, key=lambda each: (each.kind == "missing", each.problem.line))
    return [each.problem for each in ordered]
