"""Label Studio's labeling configuration: an XML form with one <Choices> for a <Text> or <Image>.

Also converts labels to and from annotation results, and the urgency of a sample to 0..1.
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
"""Characters; a form with a thousand labels needs half of them."""


@dataclass(frozen=True)
class Form:
    """The classification question of a labeling form."""

    from_name: str
    """Name of the <Choices> control."""
    to_name: str
    """Name of the <Text> or <Image> that it labels."""
    column: str
    """text or image."""
    key: str
    """Key of the text or image in a task's data."""
    labels: tuple[str, ...]

    @classmethod
    def read(cls, xml: str) -> "Form":
        """Parse a form.

        Raises:
            DataError: not XML, or no <Choices> for a <Text> or <Image>.
        """
        if len(xml) > MAX_FORM or "<!" in xml.replace("<!--", ""):  # against entity expansion
            raise DataError(
                f"the labeling form has more than {MAX_FORM} characters or declares entities"
            )
        try:
            root = ElementTree.fromstring(xml)
        except ElementTree.ParseError as error:
            raise DataError(f"the labeling form is not XML: {error}") from error
        objects = {each.get("name"): each for tag in ("Text", "Image") for each in root.iter(tag)}
        for control in root.iter("Choices"):
            target = objects.get(control.get("toName"))
            if target is not None and (target.get("value") or "").startswith("$"):
                labels = (each.get("alias") or each.get("value") for each in control.iter("Choice"))
                return cls(
                    from_name=control.get("name") or "",
                    to_name=target.get("name") or "",
                    column=target.tag.lower(),
                    key=str(target.get("value"))[1:],
                    labels=tuple(str(label) for label in labels),
                )
        raise DataError("the labeling form needs <Choices> for a <Text> or <Image>")

    def result(self, label: str) -> list[Document]:
        """Return a label as the result of a Label Studio annotation.

        Raises:
            DataError: the form has no such label; Label Studio itself does not check this.
        """
        if label not in self.labels:
            raise DataError(f"the labeling form has no choice {label!r}, only {self.labels}")
        names = {"from_name": self.from_name, "to_name": self.to_name}
        return [{**names, "type": "choices", "value": {"choices": [label]}}]

    def label(self, result: Sequence[Mapping[str, Any]]) -> str | None:
        """Return the label of an annotation result, None if it has none.

        Raises:
            DataError: several labels, or one that the form does not have.
        """
        chosen = [
            label
            for each in result
            if each.get("from_name") == self.from_name
            for label in each.get("value", {}).get("choices", ())
        ]
        if len(chosen) > 1 or not set(chosen) <= set(self.labels):
            raise DataError(f"expected one of the choices {self.labels}, got {chosen}")
        return chosen[0] if chosen else None


def form_xml(column: str, labels: Sequence[str]) -> str:
    """Return the form of a task: the sample, its labels, and why it was selected."""
    sample = f'<{column.capitalize()} name="{column}" value="${column}"/>'
    choices = "".join(f"<Choice value={quoteattr(label)}/>" for label in labels)
    return (
        f"<View>{sample}"
        f'<Choices name="label" toName="{column}" choice="single" showInLine="true">'
        f"{choices}</Choices>"
        '<Header value="Why this sample?"/><Text name="why" value="$umc_why"/></View>'
    )


def urgency(priority: float, acquisition: str, classes: int, specialists: int) -> float:
    """Scale an acquisition value to 0 (certain) .. 1 (label first)."""
    if acquisition in ("entropy", "mutual_information"):
        priority /= math.log2(classes)
    if acquisition == "score":
        priority = (priority / specialists + 1) / 2
    return min(max(priority, 0.0), 1.0)


def seconds_since_1970(time: str) -> float:
    """Convert a Label Studio timestamp, such as 2026-11-24T15:20:01.5Z."""
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def project_id(project: object) -> str:
    """Return the project id in a message: a string like 2.1795319432, or an object with an id.

    Raises:
        DataError: the message names no project.
    """
    if isinstance(project, dict):
        project = project.get("id")
    digits = str(project).partition(".")[0]
    if not digits.isdecimal():
        raise DataError(f"not a Label Studio project: {json.dumps(project)[:40]}")
    return digits
