"""What a language model is asked, and what of its answer is the sample."""

import re
from collections.abc import Sequence

import numpy as np

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators.generator import Exemplar, Generated, Request

SHOWN = 5
"""Exemplars in a prompt; each prompt has others, or the texts would be all alike."""

MAX_LETTERS = 600
"""Of an exemplar in a prompt."""

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_QUOTES = ('""', "''", "“”", "``")


class Prompt:
    """One question to a language model, and the exemplars that it shows."""

    def __init__(self, text: str, exemplars: Sequence[Exemplar]) -> None:
        self.text = text
        self.exemplars = tuple(exemplars)


def prompts(request: Request, config: GeneratorConfig, seed: int) -> list[Prompt]:
    """Return a prompt per sample that is wanted; none if there are no exemplars of the label."""
    rng = np.random.default_rng(abs(seed))
    own = request.own
    if not own:
        return []
    wanted = 1 if config.paraphrase else min(SHOWN, len(own))
    asked = []
    for _ in range(request.count):
        shown = [own[row] for row in rng.choice(len(own), wanted, replace=False)]
        write = _paraphrase if config.paraphrase else _another
        asked.append(Prompt(write(request.label, shown, config.instruction), shown))
    return asked


def _another(label: str, shown: Sequence[Exemplar], instruction: str) -> str:
    listed = "\n".join(f"- {_short(each)}" for each in shown)
    return (
        f'These are {instruction or "texts"} of the kind "{label}":\n{listed}\n'
        "Write one more of the same kind, about something else. Answer with it alone, in one line."
    )


def _paraphrase(label: str, shown: Sequence[Exemplar], instruction: str) -> str:
    kind = f'{instruction or "a text"} of the kind "{label}"'
    return (
        f"Say this in other words; it stays {kind}:\n- {_short(shown[0])}\n"
        "Answer with the new text alone, in one line."
    )


def _short(exemplar: Exemplar) -> str:
    assert isinstance(exemplar.payload, str)  # language models read texts
    return " ".join(exemplar.payload.split())[:MAX_LETTERS]


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
