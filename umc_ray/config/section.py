"""What every section of a campaign file has in common."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import pydantic
from pydantic import AfterValidator, Field

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""What can be the name of a folder."""

BACKSLASH = "in double quotes a backslash begins an escape: put a path in single quotes, or use /"


def _without_control_characters(value: str | list[str] | None) -> str | list[str] | None:
    for path in [value] if isinstance(value, str) else value or []:
        if found := [char for char in path if ord(char) < ord(" ")]:
            raise ValueError(f"{path!r} has the control character {found[0]!r}; {BACKSLASH}")
    return value


Written = AfterValidator(_without_control_characters)
"""A path, a glob or a URI as it was meant, or a list of them."""

Location = Annotated[str, Written]

Name = Annotated[str, Field(pattern=NAME)]


class Section(pydantic.BaseModel):
    """A part of the campaign file: unknown keys are refused, values do not change.

    Numbers are finite.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def check_options(
    section: Section, noun: str, kind: str, options: Mapping[str, Sequence[str]]
) -> None:
    """Make sure that only options that its kind knows differ from their defaults.

    Raises:
        ValueError: another one does.
    """
    for name, kinds in options.items():
        default = type(section).model_fields[name].default
        if kind not in kinds and getattr(section, name) != default:
            raise ValueError(
                f"a {noun} of kind {kind} has no {name}: it is an option of {', '.join(kinds)}"
            )
