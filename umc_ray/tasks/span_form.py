"""The form in which people mark the answer to a question in its context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from umc_ray.errors import DataError
from umc_ray.tasks.forms import Document
from umc_ray.tasks.span_answers import NO_ANSWER, UNKNOWN, Span, answer_text, read_spans, spans_of
from umc_ray.tasks.spelling import shown

NONE = "-none"
"""How the name of the control ends that says that there is no answer."""

MARK = "Answer"
"""The label of a marked span in Label Studio."""


@dataclass(frozen=True)
class SpanForm:
    """A span of a text that people mark, or that there is none."""

    template: ClassVar[str] = "span"
    marks_text: ClassVar[bool] = True
    seldom_equal: ClassVar[bool] = False
    none: ClassVar[str] = NO_ANSWER
    labels: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[bool] = False

    def shown(self, answer: str) -> str:
        """Return the answer's text, without where it stands."""
        return " / ".join(dict.fromkeys(each.text for each in spans_of(answer))) or NO_ANSWER

    def hint(self) -> str:
        """Say what can be written in a sheet."""
        return f"the answer as it stands in the text, or {NO_ANSWER}"

    def control_xml(self, name: str, to_name: str) -> str:
        """Return a <Labels> element, and <Choices> for no answer."""
        return (
            f'<Labels name="{name}" toName="{to_name}"><Label value="{MARK}"/></Labels>'
            f'<Choices name="{name}{NONE}" toName="{to_name}" choice="multiple">'
            f'<Choice value="{NO_ANSWER}"/></Choices>'
        )

    def result(self, answer: str, name: str, to_name: str) -> list[Document]:
        """Return marked spans as results of type labels, or the choice of no answer."""
        about: Document = {"to_name": to_name}
        if answer == NO_ANSWER:
            value: Document = {"choices": [NO_ANSWER]}
            return [{**about, "from_name": f"{name}{NONE}", "type": "choices", "value": value}]
        return [
            {**about, "from_name": name, "type": "labels", "value": _marked(span)}
            for span in read_spans(answer)
        ]

    def answer(self, result: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Return the marked spans as text; None if nothing was marked."""
        name = name.removesuffix(NONE)
        values = {
            control: [each.get("value", {}) for each in result if each.get("from_name") == control]
            for control in (name, f"{name}{NONE}")
        }
        marked, none = values[name], values[f"{name}{NONE}"]
        if marked and none:
            raise DataError("an answer is marked, and it is said that there is none")
        if none:
            return NO_ANSWER
        return answer_text(read_spans(marked)) if marked else None

    def chosen(self, answer: str) -> list[str]:
        """Return none: a span is no choice."""
        return []


def _marked(span: Span) -> Document:
    if span.start == UNKNOWN:
        raise DataError(f"it is not known where {shown(span.text)} stands")
    end = span.start + len(span.text)
    return {"start": span.start, "end": end, "text": span.text, "labels": [MARK]}
