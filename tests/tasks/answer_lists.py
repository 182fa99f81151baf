"""Made-up lists of candidate answers, for the tests of kinds whose outputs are such lists."""

import math

import numpy as np
import torch

from umc_ray.methods.candidates import LIST, UNLISTED, listed, text_key, text_of, unpack
from umc_ray.tasks.span_answers import NO_ANSWER, Span, answer_text, spans_of

WORDS = ("red", "the green", "blue", "old rose", "", "gold", "pale lead", "ink")
STARTS = (0, 4, 14, 2100, -1, 40, 60, 90)
UNLISTED_ANSWER = answer_text([Span(200, "something else")])
CANDIDATES = [
    answer_text([Span(start, word)] if word else [])
    for start, word in zip(STARTS, WORDS, strict=True)
]

QA_ANSWERS = (
    {"start": 0, "text": "Paris"},
    {"text": ["Rome", "the city of Rome"], "answer_start": [7, 2]},
    NO_ANSWER,
    [{"text": "Bern", "answer_start": 12}, {"text": "Bern", "answer_start": 30}],
    {"start": 12, "text": "Genf |\n“x”"},
)


def lists(probs_NK):
    """Outputs NC: the probability of each candidate, and of the rest, which is the last."""
    logs_NK = np.log(probs_NK)
    rows = [
        listed(list(zip(row, STARTS, WORDS, strict=True)), rest) for *row, rest in logs_NK.tolist()
    ]
    empty = torch.zeros(0, len(listed([], 0.0)))
    return (torch.stack(rows) if rows else empty).numpy().astype(np.float32)


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def honest_lists(rng, n, outputs):
    return lists(softmax(rng.normal(scale=1.5, size=(n, LIST + 1))))


def agreeing_lists(rng, specialists, n, outputs):
    common, own = rng.normal(scale=2, size=(n, LIST + 1)), (specialists, n, LIST + 1)
    logits = common + rng.normal(scale=0.7, size=own)
    return np.stack([lists(softmax(each)) for each in logits])


def too_sure_lists(outputs_NC):
    sure = outputs_NC.copy()
    sure[:, : LIST + 1] *= 4
    return sure


def draw_candidate(outputs_NC, rng):
    """Draw an answer; what is not listed is one of many others."""
    probs_NK = softmax(outputs_NC[:, : LIST + 1].astype(np.float64))
    answers = [UNLISTED_ANSWER, *CANDIDATES]
    return [answers[rng.choice(LIST + 1, p=row)] for row in probs_NK]


def list_log_loss(probs_NC, targets):
    """The mean log-loss of a table of rows: the rest is spread over many."""
    found = unpack(torch.from_numpy(np.float32(probs_NC)))
    total = 0.0
    for i, right in enumerate(targets):
        keys = {int(key) for *_, key in right}
        texts = [text_of(each) for each in found.bytes_KW[i]]
        right_p = [
            float(p) for t, p in zip(texts, found.values_K[i], strict=True) if text_key(t) in keys
        ]
        total -= math.log(sum(right_p) if right_p else float(found.rest[i]) / UNLISTED)
    return total / len(targets)


def words(text):
    kept = "".join(c for c in text.lower() if c.isalnum() or c.isspace()).split()
    return [word for word in kept if word not in ("a", "an", "the")]


def squad_quality(predicted, targets):
    """SQuAD's figures, for answers with one word each way."""
    f1, exact, has = [], [], []
    for answer, target in zip(predicted, targets, strict=True):
        a, b = (words(" ".join(s.text for s in spans_of(each))) for each in (answer, target))
        common = len(set(a) & set(b))
        f1.append(2 * common / (len(a) + len(b)) if a and b else float(a == b))
        exact.append(a == b)
        has.append(target != NO_ANSWER)
    f1, has = np.array(f1), np.array(has)
    figures = {"utility": f1.mean(), "exact match": np.mean(exact)}
    if has.any() and not has.all():
        figures |= {
            "F1 where there is an answer": f1[has].mean(),
            "F1 where there is none": f1[~has].mean(),
        }
    return figures
