"""What only texts to write do. Axes as in the modules."""

import json

import numpy as np
import pytest
import sacrebleu
import torch

from umc_ray.errors import DataError
from umc_ray.methods import chrf, text_lists
from umc_ray.methods.bleu import bleu
from umc_ray.methods.text_lists import CUT, fitted, listed, texts_of, unpack
from umc_ray.tasks.generation import Generation
from umc_ray.tasks.task import Votes

KIND = Generation(max_answer_bytes=60)
PLAIN = {"temperature": 1.0, "shift": 0.0}

WRITTEN = [
    "The dog bit the man.",
    "It was not unexpected.",
    "The man bit him first.",
    "",
    "Ein ganz anderer Satz steht hier.",
]
RIGHT = [
    ["The dog bit the man.", "The dog had bit the man."],
    ["It was not surprising.", "No one was surprised."],
    ["The man had bitten the dog."],
    ["Something was expected here."],
    ["Hier steht ein ganz anderer Satz.", "Ein Satz", "Ein anderer Satz steht da."],
]


def outputs(*members):
    """Outputs SNC of specialists for one sample, each by its texts and log-probabilities."""
    return torch.stack([listed(found, 60) for found in members])[:, None]


def measured(*members):
    return KIND.measures(KIND.activation([PLAIN] * len(members))(outputs(*members)), {})


def votes(*texts):
    return Votes(np.zeros(len(texts), int), np.arange(len(texts)), tuple(texts))


def test_chrf_is_that_of_sacrebleu():
    for text, right in zip(WRITTEN, RIGHT, strict=True):
        theirs = sacrebleu.sentence_chrf(text, right).score / 100
        assert chrf.chrf(text, right) == pytest.approx(theirs, abs=1e-12)
    assert chrf.chrf("a", []) == 0


def test_texts_are_compared_both_ways():
    texts = ["ab cd", "abcde", "xy"]
    found_KK = chrf.pairwise(texts)
    for i, text in enumerate(texts):
        for j, other in enumerate(texts):
            assert found_KK[i, j] == pytest.approx(chrf.chrf(text, [other]))
    off = [found_KK[i, j] for i in range(3) for j in range(3) if i != j]
    assert chrf.mean_likeness(texts) == pytest.approx(np.mean(off))


@pytest.mark.parametrize("several", [True, False])
def test_bleu_and_its_signature_are_those_of_sacrebleu(several):
    references = RIGHT if several else [right[:1] for right in RIGHT]
    streams = [[dict(enumerate(each)).get(i) for each in references] for i in range(3)]
    metric = sacrebleu.BLEU()
    theirs = metric.corpus_score(WRITTEN, streams[: None if several else 1])
    found = bleu(WRITTEN, references)
    assert found.value == pytest.approx(theirs.score / 100, abs=1e-12)
    assert found.signature == str(metric.get_signature())
    assert found.signature.startswith(f"nrefs:{'var' if several else 1}|")
    assert found.low < found.value < found.high


def test_what_is_too_long_is_refused_or_cut_so_that_one_sees_it():
    with pytest.raises(DataError, match="has 61 bytes, more than the 60 of max_answer_bytes"):
        KIND.parse("ä" * 30 + "x")
    assert KIND.parse("ä" * 30) == "ä" * 30
    cut = fitted("ein Wort " * 10, 60)
    assert cut == "ein Wort ein Wort ein Wort ein Wort ein Wort ein Wort…"
    assert fitted("ä" * 40, 60) == "ä" * 28 + CUT
    assert fitted(" \0 ", 60) == CUT
    (row,) = texts_of(unpack(listed([(-1.0, "ä" * 40), (-2.0, "b")], 60)[None]).bytes_KW)
    assert row[:3] == ["ä" * 28 + CUT, "b", ""]


def test_a_list_keeps_what_it_is_made_of_in_half_precision():
    texts = ["Zwölf Boxkämpfer", "jagen", "Viktor quer – über"]
    row = listed([(-0.5, texts[0]), (-1.0, texts[1]), (-1.5, texts[2])], 60)
    found = unpack(row.half().float()[None])
    assert texts_of(found.bytes_KW)[0][:3] == texts
    sure = float(np.exp(-0.5)) * chrf.mean_likeness(texts)
    assert 1 - found.rest.exp().item() == pytest.approx(sure, abs=1e-3)
    drawn = np.exp([-1.0, -1.5]) / np.exp([-1.0, -1.5]).sum()
    shares = found.values_K[0].exp()[:3].numpy()
    np.testing.assert_allclose(shares, sure / 2 * np.array([1, *drawn]), atol=1e-3)
    assert text_lists.size_of(text_lists.width_of(60)) == 60


def test_uncertainty_is_the_product_of_confidence_and_consistency():
    first = [(-0.2, "der Hund schläft"), (-0.5, "der Hund schlief")]
    second = [(-0.4, "ein Hund schläft"), (-0.9, "eine Katze")]
    found = {name: values.item() for name, values in measured(first, second).columns.items()}
    within = [chrf.mean_likeness([text for _, text in own]) for own in (first, second)]
    across = [chrf.mean_likeness([one, other]) for _, one in first for _, other in second]
    consistency = (np.mean(within) + np.mean(across)) / 2
    confidence = np.exp([-0.2, -0.4]).mean()
    assert found["consistency"] == pytest.approx(consistency, rel=1e-5)
    assert found["product"] == pytest.approx(confidence * consistency, rel=1e-5)
    apart = 1 - chrf.mean_likeness(["der Hund schläft", "ein Hund schläft"])
    assert found["disagreement"] == pytest.approx(apart, rel=1e-5)
    assert found["mutual_information"] == pytest.approx(
        max(0, np.mean(within) - np.mean(across)), rel=1e-4
    )
    assert found["entropy"] == pytest.approx(0.3 / np.log(2), rel=1e-5)
    uncertain = KIND.acquisition(measured(first, second), "margin").item()
    assert uncertain == pytest.approx(1 - confidence * consistency, rel=1e-5)


def test_the_text_is_taken_that_is_most_like_what_is_expected():
    """By brute force: the most probable one is not the one with the highest expected chrF."""
    found = [(-0.1, "xyz uvw"), (-0.2, "der Hund"), (-0.2, "der Hund lief"), (-0.2, "der Hund!")]
    flat = {"temperature": 5.0, "shift": 0.0}
    mean_NC = KIND.pooling(KIND.activation([flat])(outputs(found)))(torch.ones(1))
    lists = unpack(mean_NC)
    probs = dict(zip(texts_of(lists.bytes_KW)[0], lists.values_K[0].tolist(), strict=True))
    worth = {
        text: sum(p * chrf.chrf(text, [other]) for other, p in probs.items() if other)
        for text in probs
        if text
    }
    (text,) = KIND.predict(mean_NC, {})
    assert text == max(worth, key=worth.get) != "xyz uvw"
    said = KIND.measures(KIND.activation([flat])(outputs(found)), {})
    assert said.expected_utility_N.item() == pytest.approx(worth[text], rel=1e-4)
    assert KIND.predict(measured(found).mean_NC, {}) == ["xyz uvw"]  # half of all


def test_specialists_count_by_weight_and_equal_texts_together():
    probs_SNC = KIND.activation([PLAIN] * 2)(
        outputs([(-0.1, "rot"), (-0.1, "blau")], [(-0.1, "weiß"), (-0.1, "rot")])
    )
    for weights, least in (([0.9, 0.1], "weiß"), ([0.1, 0.9], "blau")):
        mean_NC = KIND.pooling(probs_SNC)(torch.tensor(weights))
        lists = unpack(mean_NC)
        probs = dict(zip(texts_of(lists.bytes_KW)[0], lists.values_K[0].tolist(), strict=True))
        assert max(probs, key=probs.get) == "rot"
        assert min([text for text in probs if text], key=probs.get) == least
        assert sum(probs.values()) + lists.rest.item() == pytest.approx(1, abs=1e-5)
    sure_SNC = KIND.activation([PLAIN])(outputs([(-0.1, "rot")]))
    twice = unpack(KIND.pooling(sure_SNC)(torch.tensor([2.0])))
    p = np.exp(-0.1)
    assert twice.values_K.max().item() == pytest.approx(p**2 / (p**2 + (1 - p) ** 2), rel=1e-4)


def test_a_decision_makes_certainties_as_high_as_the_share_that_is_good():
    rng, n = np.random.default_rng(0), 400
    is_good_N = rng.random(n) < 0.7
    texts = ["der kleine Hund schläft tief" if good else "xyz" for good in is_good_N]
    rows = torch.stack([listed([(-2.0, "der kleine Hund schläft")], 60)] * n)
    mean_NC = KIND.pooling(KIND.activation([PLAIN])(rows[None]))(torch.ones(1))
    decision = KIND.decide(mean_NC.numpy(), KIND.encode(texts), np.ones(n, np.float32))
    found = KIND.measures(KIND.activation([PLAIN])(rows[None]), decision)
    assert found.certainty_N.mean().item() == pytest.approx(is_good_N.mean(), abs=0.02)
    utility = KIND.utility(KIND.predict(found.mean_NC, decision), texts).mean()
    assert found.expected_utility_N.mean().item() == pytest.approx(utility, abs=0.02)


def test_the_consensus_is_the_answer_most_like_the_others_and_two_different_ones_are_a_tie():
    texts = ("der Hund schläft", "der Hund schlief", "eine Katze")
    best = max(
        texts,
        key=lambda text: sum(chrf.mean_likeness([text, other]) for other in texts if other != text),
    )
    assert KIND.consensus(votes(*texts)) == {0: best}
    assert KIND.settled(votes(*texts), 0.9) == {0}
    assert KIND.settled(votes(*texts[:2]), 0.9) == set()
    assert KIND.settled(votes("aaa", "bbb", "ccc"), 0.9) == set()
    assert KIND.settled(votes("aaa", "aaa", "ccc"), 0.9) == {0}


def test_several_right_answers_count_by_the_nearest():
    several = KIND.parse(["Das Haus ist alt.", "Das Gebäude ist alt."])
    assert json.loads(several) == {"references": ["Das Haus ist alt.", "Das Gebäude ist alt."]}
    assert KIND.utility(["Das Gebäude ist alt."], [several]).item() == 1
    assert KIND.parse(["a", "a "]) == "a"
    assert KIND.value(several) == ["Das Haus ist alt.", "Das Gebäude ist alt."]
    assert KIND.form().shown(several) == "Das Haus ist alt. / Das Gebäude ist alt."


def test_a_sample_that_could_not_be_read_has_no_measures_and_leaves_others_alone():
    good = outputs([(-0.1, "rot"), (-0.2, "grün")])
    probs_SNC = KIND.activation([PLAIN])(torch.cat([good, torch.full_like(good, torch.nan)], 1))
    found = KIND.measures(probs_SNC, {})
    for name, values_N in found.columns.items():
        assert values_N.isfinite().tolist() == [True, False], name
    assert KIND.prediction_columns(found, {})[0].to_pylist()[0] in ("rot", "grün")
    assert KIND.acquisition(found, "margin").isfinite().tolist() == [True, False]


def test_label_studio_gets_a_text_area_and_gives_a_text_or_a_list_of_one():
    form = KIND.form()
    (region,) = form.result("Das ist es.", "label", "text")
    assert region["value"] == {"text": ["Das ist es."]}
    assert form.answer([{**region, "value": {"text": "Das ist es."}}], "label") == "Das ist es."
    with pytest.raises(DataError, match="more than the 60"):
        form.answer([{**region, "value": {"text": ["x" * 61]}}], "label")
