"""Made-up lists of texts, for the tests of kinds whose answers are written."""

import math

import numpy as np
import sacrebleu
import torch

from umc_ray.methods.text_lists import (
    PLACES,
    UNLIKE,
    TextLists,
    pack,
    size_of,
    text_bytes,
    texts_of,
    unpack,
)
from umc_ray.tasks.written_answers import texts_of as right_ones

TEXTS = (
    "aaa bb aaaaa b ab",
    "ccc dd ccccc d cd",
    "eee ff eeeee f ef",
    "ggg hh ggggg h gh",
    "iii jj iiiii j ij",
    "kkk ll kkkkk l kl",
)
"""With no letters in common, and words enough for BLEU."""

OTHER = "mmm nn mmmmm n mn"

WRITTEN_ANSWERS = (
    "Das ist ein Haus.",
    ["Der Hund schläft tief.", "Der Hund ist am Schlafen."],
    "Zwei Zeilen\nund ein „Zitat“, [1]",
    '{"a": "JSON ist auch Text"}',
    {"references": ["eins zwei drei vier", "fünf sechs sieben acht"]},
)


def lists(probs_NK, size):
    """Outputs NC: the probability of `rest`, which is the last, and of each text."""
    logs_NK = torch.from_numpy(np.log(probs_NK)).float()
    bytes_KW = torch.from_numpy(text_bytes(TEXTS, size)).float()
    rest_N, values_NK = logs_NK[:, -1], logs_NK[:, :-1]
    bytes_NKW = bytes_KW.expand(len(logs_NK), -1, -1)
    return pack(TextLists(rest_N, values_NK[:, 0].clamp_max(0), values_NK, bytes_NKW)).numpy()


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def honest_texts(rng, n, outputs):
    return lists(softmax(rng.normal(scale=1.5, size=(n, PLACES + 1))), size_of(outputs))


def some_texts(rng, shape, outputs):
    if len(shape) == 1:
        return honest_texts(rng, shape[0], outputs)
    return np.stack([honest_texts(rng, shape[-1], outputs) for _ in range(shape[0])])


def agreeing_texts(rng, specialists, n, outputs):
    common, own = rng.normal(scale=2, size=(n, PLACES + 1)), (specialists, n, PLACES + 1)
    logits = common + rng.normal(scale=0.7, size=own)
    return np.stack([lists(softmax(each), size_of(outputs)) for each in logits])


def too_sure_texts(outputs_NC):
    sure = outputs_NC.copy()
    sure[:, 0] *= 4
    sure[:, 2 : 2 + PLACES] *= 4
    return sure


def draw_text(outputs_NC, rng):
    found = unpack(torch.from_numpy(outputs_NC))
    logs_NK = torch.cat([found.values_K, found.rest[:, None]], 1)
    answers = [*TEXTS, OTHER]
    return [answers[rng.choice(PLACES + 1, p=row)] for row in softmax(logs_NK.double().numpy())]


def written_log_loss(probs_NC, targets):
    """The mean log-loss, sample by sample, with sacrebleu's chrF."""
    found = unpack(torch.from_numpy(np.float32(probs_NC)))
    total = 0.0
    for own, probs_K, rest, right in zip(
        texts_of(found.bytes_KW),
        found.values_K.tolist(),
        found.rest.tolist(),
        texts_of(torch.from_numpy(targets)),
        strict=True,
    ):
        refs = [each for each in right if each]
        like = [sacrebleu.sentence_chrf(each, refs).score / 100 for each in own]
        likely = sum(p * each for p, each in zip(probs_K, like, strict=True))
        total -= math.log(likely + UNLIKE * (1 - max(like)) * rest)
    return total / len(targets)


def sacrebleu_quality(predicted, targets):
    references = [right_ones(each) for each in targets]
    most = max(map(len, references))
    streams = [[dict(enumerate(each)).get(i) for each in references] for i in range(most)]
    chrf = [
        sacrebleu.sentence_chrf(text, list(each)).score / 100
        for text, each in zip(predicted, references, strict=True)
    ]
    return {
        "utility": np.mean(chrf),
        "BLEU": min(sacrebleu.corpus_bleu(predicted, streams).score / 100, 1),
    }
