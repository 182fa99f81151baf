"""The log of a run, and how long its stages took."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from umc_ray.storage import Storage


def events(storage: Storage) -> list[dict[str, Any]]:
    """Read the log of a run, without a line that a crash truncated."""
    if not storage.exists("events.jsonl"):
        return []
    lines = storage.read_bytes("events.jsonl").decode(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


@dataclass
class Stage:
    """How often a stage ran, and its total time and rows."""

    name: str
    runs: int = 0
    seconds: float = 0.0
    rows: int = 0


def stage_times(log: Sequence[Mapping[str, Any]]) -> list[Stage]:
    """Sum up the stages over rounds and domains, in the order of their first runs."""
    stages: dict[str, Stage] = {}
    for event in log:
        if "seconds" in event:
            name = event["stage"].split(" ")[0].rsplit("/", 1)[-1]
            stage = stages.setdefault(name, Stage(name))
            stage.runs += 1
            stage.seconds += event["seconds"]
            stage.rows += event["rows"] or 0
    return list(stages.values())
