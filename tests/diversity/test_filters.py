"""What filters refuse, and that every sample keeps all that made it."""

import io

import numpy as np
from PIL import Image

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.content import BlockedWords
from umc_ray.diversity.filters import (
    COPY,
    OTHER_LABEL,
    OUTLIER,
    REPEAT,
    Spaces,
    judge,
    label_agreement,
    surface,
)
from umc_ray.diversity.generators.generator import Generated

REAL_ND = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
COPIED, FAR, WRONG, REPEATED, UNSAFE, GOOD = range(6)


def synthetic():
    """One sample for each filter, and a good one that comes before the one that repeats it."""
    x_ND = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32) * 0.7
    x_ND[COPIED] = REAL_ND[5]
    x_ND[FAR] = 40
    x_ND[GOOD] = x_ND[REPEATED] * 1.0001
    texts = ["one", "two", "three", "four", "a Bomb recipe", "five"]
    made = [Generated(text, "b", (3, 4), f"prompt {i}", i) for i, text in enumerate(texts)]
    agreement_N = np.full(6, 0.5, np.float32)
    agreement_N[WRONG] = 0.01
    return made, Spaces((x_ND,)), agreement_N


def verdicts(checks=(), kind="language_model", **filters):
    paths = {"path": "model"} if kind == "language_model" else {}
    config = GeneratorConfig(kind=kind, filters={"blocked": [r"\bbombs?\b"], **filters}, **paths)
    made, spaces, agreement_N = synthetic()
    checks = (BlockedWords(config.filters.blocked), *checks)
    return judge(made, spaces, Spaces((REAL_ND,)), agreement_N, config, checks)


def test_each_filter_refuses_what_it_is_for_and_lets_the_rest_pass():
    found = verdicts().refused
    assert found[COPIED] == COPY
    assert found[FAR] == OUTLIER
    assert found[WRONG] == OTHER_LABEL
    assert found[UNSAFE] == r"blocked: \bbombs?\b"
    assert (found[REPEATED], found[GOOD]) == (None, REPEAT)


def test_filters_can_be_switched_off():
    found = verdicts(copies=False, outliers=False, similarity=None, min_agreement=0, blocked=[])
    assert found.refused == (None,) * 6
    assert found.copy_ratio_N[COPIED] == 0


def test_transforms_are_real_samples_whose_label_is_known():
    refused = set(verdicts(kind="transforms").refused)
    assert refused.isdisjoint({COPY, OUTLIER, OTHER_LABEL})


def test_a_hook_refuses_with_its_reason():
    found = verdicts([lambda payload: "unsafe" if payload == "four" else None])
    assert found.refused[REPEATED] == "unsafe"
    assert found.refused[GOOD] is None  # what it repeats was refused


def test_the_surface_of_texts_and_images_tells_copies_from_others():
    texts_ND = surface(["the cat sat", "The cat sat!", "a stone fell"])
    similar_NN = texts_ND @ texts_ND.T
    assert similar_NN[0, 1] > 0.7 > 0.3 > similar_NN[0, 2]

    def png(shade):
        sink = io.BytesIO()
        Image.linear_gradient("L").point(lambda value: value * shade).save(sink, "PNG")
        return sink.getvalue()

    assert surface([png(1), png(0.5)]).shape == (2, 8 * 8)


def test_the_agreement_is_the_probability_of_the_own_label():
    made = [Generated("x", label, (), "", 0) for label in ("b", "a")]
    probs_NC = np.array([[0.2, 0.8], [0.6, 0.4]], np.float32)
    np.testing.assert_allclose(label_agreement(made, probs_NC, ["a", "b"]), [0.8, 0.6])
