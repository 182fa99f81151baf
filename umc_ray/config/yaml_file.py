"""Read a YAML file so that mistakes in it can be told with their lines."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from umc_ray.config.section import BACKSLASH
from umc_ray.errors import ConfigError

TEXT = "tag:yaml.org,2002:str"
MERGE = "tag:yaml.org,2002:merge"
BY_NUMBER = "label_names"
"""The section whose keys may be numbers: ids of classes."""

MAX_DEPTH = 50
"""Keys and lists inside each other; a campaign file has about ten."""

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, order=True)
class Problem:
    """A mistake in a file."""

    line: int
    message: str


class _TooDeepError(Exception):
    """Raised with the line."""


class _Loader(yaml.SafeLoader):
    """Reads files of a bounded depth: what goes over nested values calls itself for each level."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node, with all that is in it."""
        if self._depth > MAX_DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _TooDeepError(event.start_mark.line + 1)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


@dataclass(frozen=True)
class YamlFile:
    """The values of a file, the nodes they came from, and the mistakes in its keys."""

    path: Path
    values: Any
    root: yaml.Node | None
    problems: tuple[Problem, ...]


def read_yaml(path: Path) -> YamlFile:
    """Read a file whose keys are text; other keys are problems, and so are keys given twice.

    Raises:
        ConfigError: the file is missing, not UTF-8, not YAML, or too deeply nested.
    """
    text = _read_text(path)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        problems = sorted(set(_key_problems(root, "", set()))) if root else []
        values = loader.construct_document(root) if root else None
    except _TooDeepError as error:
        raise ConfigError(
            f"{path}:{error}: keys and lists are nested more than {MAX_DEPTH} deep; a campaign "
            "file has about ten levels"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        what = " ".join(f"{error.problem} {error.context or ''}".split())
        if error.context == "while scanning a double-quoted scalar":
            what += f"; {BACKSLASH}"
        raise ConfigError(f"{path}{line}: is not YAML: {what}") from error
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2024-13-45 is a ValueError
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return YamlFile(path, values, root, tuple(problems))


def node_at(root: yaml.Node, loc: list[str]) -> tuple[list[str], int, yaml.Node]:
    """Return the steps of a location that are in the file, the line of the last, and its node."""
    node, line, steps = root, root.start_mark.line + 1, list[str]()
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
            if not found:
                continue
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and step.isdigit() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line + 1
        else:
            continue
        steps.append(step)
    return steps, line, node


def unquoted(node: yaml.Node) -> str | None:
    """Say that a plain scalar has to be quoted to be text; None if it is none, or text already."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == TEXT or node.style or not node.value:
        return None
    kind = node.tag.rsplit(":", 1)[-1]
    kinds = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing"}
    read_as = kinds.get(kind, "a date" if kind == "timestamp" else kind)
    return f'YAML reads {node.value} as {read_as}; put it in quotes: "{node.value}"'


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read campaign file {path}: {error.strerror}") from error
    encoding = "utf-16" if data.startswith(UTF_16_MARKS) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError(
            f"{path}:{line}: byte 0x{data[error.start]:02X} at position {column} of the line is "
            f"not UTF-8; save the file as UTF-8 (it may be in cp1252 or latin-1 now)"
        ) from error


def _key_problems(node: yaml.Node, parent: str, seen: set[int]) -> Iterator[Problem]:
    """Find keys that are given twice or are no text, which become text; an alias counts once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _key_problems(each, parent, seen)
    if isinstance(node, yaml.MappingNode):
        yield from _problems_of_keys([key for key, _ in node.value], parent)
        for key, value in node.value:
            yield from _key_problems(value, str(key.value), seen)


def _problems_of_keys(keys: list[yaml.Node], parent: str) -> Iterator[Problem]:
    lines: dict[str, int] = {}
    for key in keys:
        if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
            continue
        line = key.start_mark.line + 1
        message = unquoted(key)
        if message is not None:
            key.tag = TEXT
            if parent != BY_NUMBER:
                yield Problem(line, f"a key of {parent or 'the file'}: {message}")
        if key.value in lines:
            first = lines[key.value]
            yield Problem(
                line, f"the key {key.value!r} is given twice, first in line {first}; remove one"
            )
        lines.setdefault(key.value, line)


def write_values(path: Path, section: list[str], values: dict[str, Any]) -> None:
    """Set values in a section of a file, and leave everything else as people wrote it.

    Raises:
        ConfigError: the file cannot be edited without changing something else.
    """
    before = read_yaml(path)
    assert before.root is not None
    steps, _, node = node_at(before.root, section)
    if steps != section or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} has no section {'.'.join(section)}")
    text = _read_text(path)
    for start, end, new in sorted(_edits(node, values), reverse=True):
        text = text[:start] + new + text[end:]
    expected = copy.deepcopy(before.values)
    reduce(lambda value, step: value[step], section, expected).update(values)
    if not _holds(text, expected):
        raise ConfigError(
            f"cannot edit {path} without changing something else; set by hand, in "
            f"{'.'.join(section)}: {_flow(values)}"
        )
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _holds(text: str, expected: object) -> bool:
    """Return whether a text is YAML with these values."""
    try:
        return bool(yaml.safe_load(text) == expected)
    except yaml.YAMLError:
        return False


def _edits(section: yaml.MappingNode, values: dict[str, Any]) -> Iterator[tuple[int, int, str]]:
    """Yield what to replace in the text of a file: from where, to where, by what."""
    there = {key.value: value for key, value in section.value}
    for name, value in values.items():
        if name in there:
            old = there[name]
            inside = isinstance(old, yaml.CollectionNode) and not old.flow_style
            # A block may begin in the column of its key, what replaces it may not.
            new = f"  {_flow(value)}" if inside else _flow(value)
            yield old.start_mark.index, _end(old), new
    missing = {name: value for name, value in values.items() if name not in there}
    after = _end(section.value[0][1])
    indent = "\n" + " " * section.value[0][0].start_mark.column
    for name, value in missing.items():
        line = f"{name}: {_flow(value)}"
        yield after, after, f", {line}" if section.flow_style else f"{indent}{line}"


def _end(node: yaml.Node) -> int:
    """Return where a value ends; PyYAML ends a block only where something else begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    index: int = node.end_mark.index
    return index


def _flow(value: Any) -> str:  # noqa: ANN401 - any YAML value
    dumped: str = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=1_000_000, sort_keys=False
    )
    return dumped.removesuffix("...\n").strip()
