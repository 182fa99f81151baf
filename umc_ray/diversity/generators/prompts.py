"""What a language model is asked, and what of its answer is the sample."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators.generator import Exemplar, Generated, Request, as_text

SHOWN = 5
"""Exemplars in a prompt; each prompt has others, or the texts would be all alike."""

MAX_LETTERS = 600
"""Of an exemplar in a prompt."""

AGAIN = "Another one, about something else."

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_QUOTES = ('""', "''", "“”", "``")


@dataclass(frozen=True)
class Prompt:
    """What is asked, and what the model is made to believe that it has answered before.

    A small model follows answers of its own better than a description of what is wanted.
    """

    instruction: str
    exemplars: tuple[Exemplar, ...]
    answered: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole as one text: what is recorded, and what a model without chat continues."""
        return "\n".join((self.instruction, *(f"- {each}" for each in self.answered)))

    @property
    def chat(self) -> list[dict[str, str]]:
        """The whole as a conversation, as chat models and endpoints take it."""
        messages = [{"role": "user", "content": self.instruction}]
        for answer in self.answered:
            messages.append({"role": "assistant", "content": answer})
            messages.append({"role": "user", "content": AGAIN})
        return messages


def prompts(request: Request, config: GeneratorConfig, seed: int) -> list[Prompt]:
    """Return a prompt per sample that is wanted; none if there are no exemplars of the label."""
    rng = np.random.default_rng(abs(seed))
    own = request.own
    if not own:
        return []
    shown = 1 if config.paraphrase else min(SHOWN, len(own))
    write = _paraphrase if config.paraphrase else _another
    draws = (rng.choice(len(own), shown, replace=False) for _ in range(request.count))
    return [
        write(request.label, tuple(own[row] for row in rows), config.instruction) for rows in draws
    ]


def _another(label: str, shown: tuple[Exemplar, ...], instruction: str) -> Prompt:
    wanted = f'Write {instruction or "texts"} of the kind "{label}"'
    answered = tuple(_short(each) for each in shown)
    return Prompt(f"{wanted}. Answer with one alone, in one line.", shown, answered)


def _paraphrase(label: str, shown: tuple[Exemplar, ...], instruction: str) -> Prompt:
    kind = f'{instruction or "a text"} of the kind "{label}"'
    wanted = f"Say this in other words, so that it stays {kind}"
    return Prompt(f"{wanted}. Answer with it alone, in one line.\n{_short(shown[0])}", shown)


def _short(exemplar: Exemplar) -> str:
    return " ".join(as_text(exemplar.payload).split())[:MAX_LETTERS]


def clean(answer: str) -> str:
    """Return the first line that says something, without bullet, quotes and double spaces."""
    line = next((each for each in answer.splitlines() if each.strip()), "")
    line = " ".join(_BULLET.sub("", line).split())
    if len(line) > 1 and line[0] + line[-1] in _QUOTES:
        line = line[1:-1].strip()
    return line


def kept(request: Request, asked: Sequence[Prompt], answers: Sequence[str]) -> list[Generated]:
    """Return the samples in the answers: none that is empty or says what an exemplar says."""
    made = []
    for prompt, answer in zip(asked, answers, strict=True):
        text = clean(answer)
        if text and text not in {_short(each) for each in prompt.exemplars}:
            ids = tuple(each.sample_id for each in prompt.exemplars)
            made.append(Generated(text, request.label, ids, prompt.text, request.seed))
    return made
