"""Label Studio's words for what we ask: the labeling form of a task, its items and their answers.

A form is XML. Of it we use one <Choices> about one <Text> or <Image>.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from umc_ray.errors import DataError

Document = dict[str, Any]

MAX_FORM = 100_000
"""Characters; a form of a thousand labels has half of them."""


@dataclass(frozen=True)
class Form:
    """What a labeling form asks."""

    choices: str
    """Name of the control."""
    about: str
    """Name of what it is about."""
    column: str
    """text or image."""
    key: str
    """Key of an item's data with the text or image."""
    labels: tuple[str, ...]

    @classmethod
    def read(cls, xml: str) -> "Form":
        """Find the question in a form.

        Raises:
            DataError: not XML, or without choices about a text or an image.
        """
        if len(xml) > MAX_FORM or "<!" in xml.replace("<!--", ""):  # entities can unpack to much
            raise DataError("a labeling form is too long, or declares entities")
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError as error:
            raise DataError(f"a labeling form is not XML: {error}") from error
        objects = {each.get("name"): each for tag in ("Text", "Image") for each in root.iter(tag)}
        for control in root.iter("Choices"):
            shown = objects.get(control.get("toName"))
            if shown is not None and (shown.get("value") or "").startswith("$"):
                labels = (each.get("alias") or each.get("value") for each in control.iter("Choice"))
                return cls(
                    choices=control.get("name") or "",
                    about=shown.get("name") or "",
                    column=shown.tag.lower(),
                    key=str(shown.get("value"))[1:],
                    labels=tuple(str(label) for label in labels),
                )
        raise DataError("a labeling form needs <Choices> about a <Text> or <Image>")

    def result(self, label: str) -> list[Document]:
        """Return an answer as Label Studio has it.

        Raises:
            DataError: the form has no such label; Label Studio itself does not check.
        """
        if label not in self.labels:
            raise DataError(f"the labeling form has no choice {label!r}, only {self.labels}")
        value = {"choices": [label]}
        return [
            {"from_name": self.choices, "to_name": self.about, "type": "choices", "value": value}
        ]

    def label(self, result: Sequence[Mapping[str, Any]]) -> str | None:
        """Return the one label of an answer, None if there is none.

        Raises:
            DataError: it is not of this form.
        """
        chosen = [
            label
            for each in result
            if each.get("from_name") == self.choices
            for label in each.get("value", {}).get("choices", ())
        ]
        if len(chosen) > 1 or not set(chosen) <= set(self.labels):
            raise DataError(f"need one of the choices {self.labels}, found {chosen}")
        return chosen[0] if chosen else None


def form_xml(column: str, labels: Sequence[str]) -> str:
    """Write the form of a task: the sample, one choice, and why it is asked."""
    shown = f'<{column.capitalize()} name="{column}" value="${column}"/>'
    choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in labels)
    return (
        f"<View>{shown}"
        f'<Choices name="label" toName="{column}" choice="single" showInLine="true">'
        f"{choices}</Choices>"
        '<Header value="Why this sample?"/><Text name="why" value="$umc_why"/></View>'
    )


def urgency(priority: float, acquisition: str, classes: int, specialists: int) -> float:
    """Scale an acquisition's value to 0 (sure) to 1 (ask first)."""
    if acquisition in ("entropy", "mutual_information"):
        priority /= math.log2(classes)
    if acquisition == "score":
        priority = (priority / specialists + 1) / 2
    return min(max(priority, 0.0), 1.0)


def seconds_since_1970(time: str) -> float:
    """Read a time of Label Studio, such as 2026-11-24T15:20:01.5Z."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def project_id(project: object) -> str:
    """Return the id of a project that a message names: 2.1795319432, or a description."""
    if isinstance(project, dict):
        project = project.get("id")
    number = str(project).partition(".")[0]
    if not number.isdecimal():
        raise DataError(f"no Label Studio project: {json.dumps(project)[:40]}")
    return number
