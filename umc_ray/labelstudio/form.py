"""Label Studio's labeling configuration: an XML form with one control for a <Text> or <Image>.

What the control is, and what its answers look like, is up to the form of a task's kind.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from umc_ray.errors import DataError
from umc_ray.methods.text_pair import parts_of
from umc_ray.records import SCORES
from umc_ray.tasks.forms import ChoiceForm, NumberForm
from umc_ray.tasks.forms import Form as TaskForm
from umc_ray.tasks.span_form import MARK, SpanForm
from umc_ray.tasks.text_form import TextForm

Document = dict[str, Any]

CONTROL = "label"
"""The name of the control in the forms of `form_xml`."""

SECOND = "_2"
"""How the names of the second texts of pairs end."""
QUALITY = "quality"
"""The name of the control for the quality of synthetic samples."""

MAX_FORM = 100_000
"""Characters; a form with a thousand labels needs half of them."""

MOST_DIGITS = 20
"""Of the id of a project, which is part of a file's name."""


@dataclass(frozen=True)
class Form:
    """The question of a labeling form, which a person may have written."""

    from_name: str
    """Name of the control."""
    to_name: str
    """Name of the <Text> or <Image> that it labels."""
    column: str
    """text or image."""
    key: str
    """Key of the text or image in a task's data."""
    control: TaskForm
    """What is filled in."""
    second: str | None = None
    """Key of the other text of a pair."""

    @classmethod
    def read(cls, xml: str) -> "Form":
        """Parse a form.

        Raises:
            DataError: not XML, or no such control for a <Text> or <Image>.
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
        for control in (each for tag in CONTROLS for each in root.iter(tag) if _is_read(each)):
            target = objects.get(control.get("toName"))
            if target is not None and (target.get("value") or "").startswith("$"):
                to_name = target.get("name") or ""
                name = to_name.removesuffix(SECOND)
                target, second = objects.get(name, target), objects.get(f"{name}{SECOND}")
                return cls(
                    from_name=control.get("name") or "",
                    to_name=to_name,
                    column=target.tag.lower(),
                    key=str(target.get("value"))[1:],
                    control=CONTROLS[control.tag](control),
                    second=None if second is None else str(second.get("value"))[1:],
                )
        raise DataError(
            "the labeling form needs <Choices>, <Number>, <Labels> or <TextArea> for a <Text> or "
            "<Image>"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """What can be chosen."""
        return self.control.labels

    def fits(self, form: TaskForm) -> bool:
        """Return whether it asks what a task's form asks, in any order."""
        if type(self.control) is not type(form):
            return False
        return set(self.labels) == set(form.labels) and self.control.multiple == form.multiple

    def result(self, answer: str) -> list[Document]:
        """Return an answer as the result of a Label Studio annotation.

        Raises:
            DataError: the form cannot give it; Label Studio itself does not check this.
        """
        return self.control.result(answer, self.from_name, self.to_name)

    def answer(self, result: Sequence[Mapping[str, Any]]) -> str | None:
        """Return the answer in an annotation result, None if it has none.

        Raises:
            DataError: the form does not have it.
        """
        return self.control.answer(result, self.from_name)


def _is_read(control: ElementTree.Element) -> bool:
    """Whether a control asks for an answer; labels of pieces of a text may be beside it."""
    marks = [each.get("value") for each in control.iter("Label")]
    return control.tag != "Labels" or MARK in marks


def _choices(control: ElementTree.Element) -> ChoiceForm:
    labels = (each.get("alias") or each.get("value") for each in control.iter("Choice"))
    is_multiple = control.get("choice") == "multiple"
    return ChoiceForm(tuple(str(label) for label in labels), is_multiple)


def _number(control: ElementTree.Element) -> NumberForm:
    low, high = control.get("min"), control.get("max")
    return NumberForm(float(low or "-inf"), float(high or "inf"))


CONTROLS: Mapping[str, Callable[[ElementTree.Element], TaskForm]] = MappingProxyType(
    {
        "Labels": lambda _: SpanForm(),
        "Choices": _choices,
        "Number": _number,
        "TextArea": lambda _: TextForm(),
    }
)
"""The controls that are read, by tag."""


def sample_data(text: str | None) -> Document:
    """Return a text as a task's data has it: that of a pair as two."""
    parts = [text] if text is None else parts_of(text)
    return dict(zip(("text", f"text{SECOND}"), parts, strict=False))


def labeled(column: str, form: TaskForm) -> str:
    """Name what a form labels: the sample or, where pieces of it are marked, the second text."""
    return f"{column}{SECOND}" if form.marks_text else column


def form_xml(column: str, form: TaskForm, pair: Sequence[str] = (), rates: bool = False) -> str:
    """Return the labeling form of a task: the sample, what is filled in, and why it was selected.

    The sample's name and key are the column, the control's name is CONTROL. The texts of a pair
    have headings; the second one has a name and a key of its own. With `rates`, people can say how
    good a synthetic sample is.
    """
    shown = f'<{column.capitalize()} name="{column}" value="${column}"/>'
    if pair:
        headings = [f"<Header value={quoteattr(name)}/>" for name in pair]
        other = f'<Text name="{column}{SECOND}" value="${column}{SECOND}"/>'
        shown = f"{headings[0]}{shown}{headings[1]}{other}"
    rating = (
        '<Header value="If it is synthetic: how good is it? (optional)"/>'
        f'<Rating name="{QUALITY}" toName="{column}" maxRating="{SCORES[-1]}"/>'
    )
    return (
        f"<View>{shown}"
        f"{form.control_xml(CONTROL, labeled(column, form))}{rating if rates else ''}"
        '<Header value="Why this sample?"/><Text name="why" value="$umc_why"/></View>'
    )


def score_of(result: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the quality in an annotation result, None if it has none."""
    found = [each["value"]["rating"] for each in result if each.get("from_name") == QUALITY]
    return next((str(each) for each in found if str(each) in SCORES), None)


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
    if not digits.isascii() or not digits.isdecimal() or len(digits) > MOST_DIGITS:
        raise DataError(f"not a Label Studio project: {json.dumps(project)[:40]}")
    return digits
