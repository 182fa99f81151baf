"""Read a campaign file; every mistake is reported with its file and line."""

import logging
from pathlib import Path
from typing import Any

import pydantic
import yaml

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.task import HUB_ID, EncoderConfig, TaskConfig
from umc_ray.errors import ConfigError

logger = logging.getLogger(__name__)


def load_campaign(path: Path) -> CampaignConfig:
    """Read and check a campaign file; paths in it are relative to its folder.

    Raises:
        ConfigError: with the file, the line and what is wrong there.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read campaign file {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if root is None or not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys such as name and tasks, found {values!r:.40}")
    for line, message in rename_old_keys(values, root):
        logger.warning("%s:%d: %s", path, line, message)
    try:
        config = CampaignConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError(_first_problem(path, root, error)) from error
    return _with_absolute_paths(config, path.parent.resolve())


RENAMED_KINDS = {
    "text_classification": ("classification", "text"),
    "image_classification": ("classification", "image"),
}
"""Kinds of version 0.1, with the kind and the input that they are now."""


def rename_old_keys(values: dict[str, Any], root: yaml.Node) -> list[tuple[int, str]]:
    """Rename the keys and values of version 0.1 in place; returns line and message of each."""
    warnings = []
    tasks = values.get("tasks")
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        if not isinstance(task, dict):
            continue
        if (old := str(task.get("kind"))) in RENAMED_KINDS:
            task["kind"], task["input"] = RENAMED_KINDS[old]
            line = _line_of(root, ["tasks", str(name), "kind"])
            new = f"kind: {task['kind']} and input: {task['input']}"
            warnings.append((line, f"kind: {old} is now {new}; the old name ends with version 0.3"))
        specialists = task.get("specialists")
        for key, each in specialists.items() if isinstance(specialists, dict) else ():
            if isinstance(each, dict) and "head" in each and "kind" not in each:
                each["kind"] = each.pop("head")
                line = _line_of(root, ["tasks", str(name), "specialists", str(key), "head"])
                warnings.append((line, "head: is now kind:; the old key ends with version 0.3"))
    return warnings


def _first_problem(path: Path, root: yaml.Node, error: pydantic.ValidationError) -> str:
    """Say the most telling of the problems that pydantic found, with its line."""
    problem = max(error.errors(), key=lambda item: item["type"] == "extra_forbidden")
    loc = [str(step) for step in problem["loc"]]
    line, message = _line_of(root, loc), problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("extra_forbidden", "missing"):
        *loc, key = loc
        unknown = problem["type"] == "extra_forbidden"
        message = f"unknown key {key!r}" if unknown else f"{key!r} is missing"
    where = f"{'.'.join(loc)}: " if loc else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{path}:{line}: {where}{message}{more}"


def _line_of(node: yaml.Node, loc: list[str]) -> int:
    """Return the line, from 1, of the deepest step of a location that is in the file."""
    line = node.start_mark.line + 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
            if not found:
                continue
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit():
            node = node.value[int(step)]
            line = node.start_mark.line + 1
    return line


def _with_absolute_paths(config: CampaignConfig, folder: Path) -> CampaignConfig:
    """Resolve local paths against the campaign file's folder, so that workers find them."""

    def absolute(value: str) -> str:
        return value if "://" in value else str(folder / Path(value).expanduser())

    def all_absolute(value: str | list[str]) -> str | list[str]:
        return absolute(value) if isinstance(value, str) else [absolute(each) for each in value]

    def encoder(value: EncoderConfig) -> EncoderConfig:
        return value.model_copy(update={"path": _weights(value.path, folder)})

    def task(value: TaskConfig) -> TaskConfig:
        domains = {
            name: domain.model_copy(
                update={
                    "source": all_absolute(domain.source),
                    "test": None if domain.test is None else all_absolute(domain.test),
                }
            )
            for name, domain in value.domains.items()
        }
        encoders = {name: encoder(config) for name, config in value.encoders.items()}
        single = None if value.encoder is None else encoder(value.encoder)
        changes = {"domains": domains, "encoder": single, "encoders": encoders}
        return value.model_copy(update=changes)

    tasks = {name: task(value) for name, value in config.tasks.items()}
    guidelines = config.annotation.guidelines
    annotation = config.annotation.model_copy(
        update={"guidelines": None if guidelines is None else absolute(guidelines)}
    )
    return config.model_copy(
        update={"storage": absolute(config.storage), "tasks": tasks, "annotation": annotation}
    )


def _weights(path: str | None, folder: Path) -> str | None:
    """Make a local path absolute; what looks like owner/name is one if there is such a folder."""
    if path is None:
        return None
    local = Path(path).expanduser()
    is_local = not HUB_ID.fullmatch(path) or (folder / local.parts[0]).exists()
    return str(folder / local) if is_local else path
