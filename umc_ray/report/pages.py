"""Rendering of the templates, and their number formats."""

import re
from typing import Any

import jinja2

from umc_ray.selection.near_duplicates import Check
from umc_ray.tasks.quality import Estimate

MINUS = "−"


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - any value
    """Render a template; .html templates escape all values that are not Markup."""
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
    """Format a share, 0 to 1."""
    return "–" if share is None else f"{share:.1%}"


def points(difference: float) -> str:
    """Format a difference of two shares in percentage points."""
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def number(value: float | None) -> str:
    """Format a count or a cost."""
    return "–" if value is None else f"{value:,.6g}"


def seconds(value: float) -> str:
    """Format a duration."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, remainder = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {remainder} s"


def between(estimate: Estimate | Check) -> str:
    """Format the interval of an accuracy or an error rate."""
    return f"{estimate.low:.1%} to {estimate.high:.1%}"


def cell(text: str) -> str:
    """Escape a name for a cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def identifier(name: str) -> str:
    """Turn a task's name into a Python identifier."""
    return re.sub(r"\W|^(?=\d)", "_", name)


def sentence(text: str) -> str:
    """Capitalize the first letter and end with a period."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
