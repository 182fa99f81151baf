"""Read a campaign file; every mistake is reported with its file and line."""

from pathlib import Path

import pydantic
import yaml

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.task import TaskConfig
from umc_ray.errors import ConfigError


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
    try:
        config = CampaignConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise ConfigError(_first_problem(path, root, error)) from error
    return _with_absolute_paths(config, path.parent.resolve())


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
        weights = None if value.encoder.path is None else absolute(value.encoder.path)
        encoder = value.encoder.model_copy(update={"path": weights})
        return value.model_copy(update={"domains": domains, "encoder": encoder})

    tasks = {name: task(value) for name, value in config.tasks.items()}
    guidelines = config.annotation.guidelines
    annotation = config.annotation.model_copy(
        update={"guidelines": None if guidelines is None else absolute(guidelines)}
    )
    return config.model_copy(
        update={"storage": absolute(config.storage), "tasks": tasks, "annotation": annotation}
    )
