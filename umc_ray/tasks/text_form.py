"""The form in which people write an answer, or edit the one that is suggested."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from umc_ray.errors import DataError
from umc_ray.tasks.forms import Document
from umc_ray.tasks.written_answers import answer_text, read_texts, texts_of

ROWS = 4
MOST = 20_000


@dataclass(frozen=True)
class TextForm:
    """A text of at most `longest` bytes; by default, of as many as a campaign may allow."""

    longest: int = MOST
    template: ClassVar[str] = "text"
    marks_text: ClassVar[bool] = False
    seldom_equal: ClassVar[bool] = True
    labels: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[bool] = False

    def shown(self, answer: str) -> str:
        """Return the answer; of several right ones, all."""
        return " / ".join(texts_of(answer))

    def hint(self) -> str:
        """Say what can be written in a sheet."""
        return f"the text of the answer, at most {self.longest} bytes"

    def control_xml(self, name: str, to_name: str) -> str:
        """Return a <TextArea> element that takes one text, which can be edited."""
        return (
            f'<TextArea name="{name}" toName="{to_name}" rows="{ROWS}" editable="true" '
            'maxSubmissions="1" showSubmitButton="true"/>'
        )

    def result(self, answer: str, name: str, to_name: str) -> list[Document]:
        """Return the texts as a result of type textarea."""
        texts = read_texts(answer, self.longest)
        value = {"text": texts}
        return [{"from_name": name, "to_name": to_name, "type": "textarea", "value": value}]

    def answer(self, result: Sequence[Mapping[str, Any]], name: str) -> str | None:
        """Return the texts that were written; None if none was."""
        regions = [each for each in result if each.get("from_name") == name]
        given = [text for each in regions for text in _texts(each.get("value", {}).get("text"))]
        return answer_text(read_texts(given, self.longest)) if given else None

    def chosen(self, answer: str) -> list[str]:
        """Return none: a text is no choice."""
        return []


def _texts(value: object) -> list[str]:
    """Return the texts of a control; Label Studio writes a single one by itself or in a list."""
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    if not all(isinstance(each, str) for each in texts):
        raise DataError(f"need a text, found {texts}")
    return texts
