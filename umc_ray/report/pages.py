"""The templates: what they share, and how numbers are written in them."""

import re
from typing import Any

import jinja2

from umc_ray.report.comparison import Estimate
from umc_ray.selection.near_duplicates import Check

MINUS = "−"


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever the template shows
    """Fill a template; in .html everything is escaped that is not markup of ours."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("umc_ray.report"),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "number": number,
        "seconds": seconds,
        "between": between,
        "cell": cell,
        "identifier": identifier,
        "sentence": sentence,
    }
    return environment.get_template(template).render(**values)


def percent(share: float | None) -> str:
    """Write a share of one."""
    return "–" if share is None else f"{share:.1%}"


def points(difference: float) -> str:
    """Write a difference of two shares in percentage points."""
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def number(value: float | None) -> str:
    """Write a count or a cost."""
    return "–" if value is None else f"{value:,.6g}"


def seconds(value: float) -> str:
    """Write a time."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def between(estimate: Estimate | Check) -> str:
    """Write the interval of an accuracy or of an error."""
    return f"{estimate.low:.1%} to {estimate.high:.1%}"


def cell(text: str) -> str:
    """Write a name into a cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def identifier(name: str) -> str:
    """Make a name of Python out of a task's name."""
    return re.sub(r"\W|^(?=\d)", "_", name)


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
