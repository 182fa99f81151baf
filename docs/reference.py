"""Write docs/options.md: every option, out of the models that check them.

    python -m docs.reference

A test compares the file with what this writes.
"""

from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.section import Section
from umc_ray.serving.settings import ServingConfig

FILE = Path(__file__).parent / "options.md"

HEAD = """\
# Options

<!-- Written by `python -m docs.reference`. Do not edit. -->

## Campaign file

`umc init` writes a campaign file with these defaults and comments. Unknown keys are errors. Local
paths are relative to the folder of the file. A changed value must fit what the run directory
holds; the [guide](guide.md#stop-resume-and-change) says what may change while a campaign runs.
"""

ENDPOINT = """\
## Endpoint

`umc serve` sets some of these by its options. All of them can be the `args` of a Ray Serve config
file whose `import_path` is `umc_ray.serving.deployment:build`.
"""

TABLE = ("| key | value | default | what it does |", "|---|---|---|---|")
TYPES = {bool: "true or false", int: "integer", float: "number", Path: "path", str: "text"}
BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def reference() -> str:
    """Return the text of docs/options.md."""
    campaign = [_section(name, model) for name, model in headings(CampaignConfig).items()]
    return "\n".join([HEAD, *campaign, ENDPOINT, _table(ServingConfig)])


def headings(model: type[Section]) -> dict[str, type[Section]]:
    """Name each section below a model once, with all places where it can stand."""
    places: dict[type[Section], list[str]] = {}
    for place, section in _walk(model, ""):
        places.setdefault(section, []).append(place)
    return {", ".join(found): section for section, found in places.items()}


def _walk(model: type[Section], place: str) -> Iterator[tuple[str, type[Section]]]:
    yield place, model
    for name, field in model.model_fields.items():
        for section, named in _sections(field.annotation):
            below = f"{place}.{name}".lstrip(".")
            yield from _walk(section, f"{below}.NAME" if named else below)


def _sections(annotation: Any) -> Iterator[tuple[type[Section], bool]]:  # noqa: ANN401
    """Find the sections in a type; True for those that have names of their own."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, False
    for inner in get_args(annotation):
        for section, named in _sections(inner):
            yield section, named or get_origin(annotation) is dict


def _section(places: str, model: type[Section]) -> str:
    title = ", ".join(f"`{place}`" for place in places.split(", ")) if places else "Top level"
    return f"### {title}\n\n{model.__doc__}\n\n{_table(model)}"


def _table(model: type[Section]) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {about(field)} |"
        for name, field in model.model_fields.items()
    ]
    return (
        "\n".join(["| key | value | default | what it does |", "|---|---|---|---|", *rows]) + "\n"
    )


def about(field: FieldInfo) -> str:
    """Say what an option does: its description, or the first line on the section that it is."""
    sections = [section for section, _ in _sections(field.annotation)]
    text = field.description or next((str(each.__doc__) for each in sections), "")
    return text.partition("\n")[0].rstrip(".").replace("|", "\\|")


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{word} {getattr(each, bound):g}"
        for each in field.metadata
        for bound, word in BOUNDS.items()
        if hasattr(each, bound)
    ]
    return ", ".join([_named(field.annotation), " and ".join(bounds)]).strip(", ")


def _named(annotation: Any) -> str:  # noqa: ANN401 - any type
    """Name a type in the words of a YAML file."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " ".join(f"`{each}`" for each in inner)
    if isinstance(annotation, UnionType) or str(origin) == "typing.Union":
        return " or ".join(_named(each) for each in inner if each is not NoneType)
    if origin in (list, tuple):
        return f"list of {_named(inner[0])}"
    if origin is dict:
        return f"{_named(inner[1])} by name"
    if origin is not None:  # Annotated
        return _named(inner[0])
    return "section" if issubclass(annotation, Section) else TYPES[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or default == () or isinstance(default, Section):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:_}`" if isinstance(default, int) else f"`{default}`"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
