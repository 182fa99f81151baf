"""Read a campaign file; all mistakes are reported at once, each with its line."""

import logging
from pathlib import Path
from typing import Any

import yaml

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.encoder import HUB_ID, EncoderConfig
from umc_ray.config.generator import GeneratorConfig
from umc_ray.config.problems import checked
from umc_ray.config.source import Source
from umc_ray.config.task import TaskConfig
from umc_ray.config.yaml_file import node_at, read_yaml
from umc_ray.errors import ConfigError

logger = logging.getLogger(__name__)


def load_campaign(path: Path) -> CampaignConfig:
    """Read and check a campaign file; paths in it are relative to its folder.

    Raises:
        ConfigError: a line for each mistake, with the file, the line and what is wrong there.
    """
    file = read_yaml(path)
    values, root = file.values, file.root
    if root is None or not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys such as name and tasks, found {values!r:.40}")
    for line, message in rename_old_keys(values, root):
        logger.warning("%s:%d: %s", path, line, message)
    config, problems = checked(values, root)
    if config is None or file.problems:
        found = [*file.problems, *problems]
        raise ConfigError("\n".join(f"{path}:{each.line}: {each.message}" for each in found))
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
            line = _line(root, ["tasks", str(name), "kind"])
            new = f"kind: {task['kind']} and input: {task['input']}"
            warnings.append((line, f"kind: {old} is now {new}; the old name ends with version 0.3"))
        specialists = task.get("specialists")
        for key, each in specialists.items() if isinstance(specialists, dict) else ():
            if isinstance(each, dict) and "head" in each and "kind" not in each:
                each["kind"] = each.pop("head")
                line = _line(root, ["tasks", str(name), "specialists", str(key), "head"])
                warnings.append((line, "head: is now kind:; the old key ends with version 0.3"))
    return warnings


def _line(root: yaml.Node, loc: list[str]) -> int:
    return node_at(root, loc)[1]


def _with_absolute_paths(config: CampaignConfig, folder: Path) -> CampaignConfig:
    """Resolve local paths against the campaign file's folder, so that workers find them."""

    def absolute(value: str) -> str:
        return value if "://" in value else str(folder / Path(value).expanduser())

    def all_absolute(value: Source | str | list[str]) -> Source | str | list[str]:
        if isinstance(value, Source):
            paths = [absolute(each) for each in value.paths]
            return value.model_copy(update={"path": paths or None})
        return absolute(value) if isinstance(value, str) else [absolute(each) for each in value]

    run = f"{absolute(config.storage).rstrip('/')}/{config.name}"

    def encoder(value: EncoderConfig, place: str) -> EncoderConfig:
        # What a table encoder learns is kept in the run directory.
        learned = f"{run}/encoders/{place}.json"
        path = learned if value.kind == "table" else _weights(value.path, folder)
        return value.model_copy(update={"path": path})

    def task(task_name: str, value: TaskConfig) -> TaskConfig:
        domains = {
            name: domain.model_copy(
                update={
                    "source": all_absolute(domain.source),
                    "test": None if domain.test is None else all_absolute(domain.test),
                    "shifted": {key: all_absolute(each) for key, each in domain.shifted.items()},
                    "target": None if domain.target is None else all_absolute(domain.target),
                }
            )
            for name, domain in value.domains.items()
        }
        encoders = {
            name: encoder(config, f"{task_name}/{name}") for name, config in value.encoders.items()
        }
        single = None if value.encoder is None else encoder(value.encoder, f"{task_name}/table")
        changes = {"domains": domains, "encoder": single, "encoders": encoders}
        return value.model_copy(update=changes)

    def generator(value: GeneratorConfig) -> GeneratorConfig:
        is_data = value.kind == "files" and value.path is not None
        path = absolute(str(value.path)) if is_data else _weights(value.path, folder)
        return value.model_copy(update={"path": path})

    made = {name: generator(value) for name, value in config.refine.generators.items()}
    refine = config.refine.model_copy(update={"generators": made})
    tasks = {name: task(name, value) for name, value in config.tasks.items()}
    guidelines = config.annotation.guidelines
    annotation = config.annotation.model_copy(
        update={"guidelines": None if guidelines is None else absolute(guidelines)}
    )
    return config.model_copy(
        update={
            "storage": absolute(config.storage),
            "tasks": tasks,
            "annotation": annotation,
            "refine": refine,
        }
    )


def _weights(path: str | None, folder: Path) -> str | None:
    """Make a local path absolute; what looks like owner/name is one if there is such a folder."""
    if path is None:
        return None
    local = Path(path).expanduser()
    is_local = not HUB_ID.fullmatch(path) or (folder / local.parts[0]).exists()
    return str(folder / local) if is_local else path
