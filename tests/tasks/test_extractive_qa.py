"""What only questions with spans as answers do; what all kinds do is in test_kinds.py."""

import json
import unicodedata

import numpy as np
import pytest
import torch

from tests.tasks.answer_lists import STARTS, WORDS, lists
from umc_ray.errors import DataError
from umc_ray.methods.candidates import LIST, listed
from umc_ray.methods.text_pair import joined
from umc_ray.tasks.extractive_qa import RIGHT, ExtractiveQA
from umc_ray.tasks.registry import task_kind
from umc_ray.tasks.span_answers import NO_ANSWER, Span, answer_text, spans_of
from umc_ray.tasks.task import Votes

KIND = ExtractiveQA()
PLAIN = {"temperature": 1.0}


def measures(*specialists):
    """Of one sample, by rows of the candidates' probabilities and that of the rest."""
    outputs_SNC = torch.from_numpy(np.stack([lists(np.array([each])) for each in specialists]))
    return KIND.measures(KIND.activation([PLAIN] * len(specialists))(outputs_SNC), {})


def nearly(*places):
    """Almost all probability on some candidates."""
    row = np.full(LIST + 1, 1e-6)
    row[list(places)] = 1
    return row / row.sum()


@pytest.mark.parametrize(
    "raw",
    [
        {"text": ["Rome", "Rome"], "answer_start": [2, 40]},  # as the Hub has SQuAD
        [{"text": "Rome", "answer_start": 2}, {"text": "Rome", "answer_start": 40}],  # as JSON
        [{"text": "Rome", "start": 40.0}, {"start": 2, "text": "Rome"}],
        '[{"start": 2, "text": "Rome"}, {"start": 40, "text": "Rome"}]',
        {"text": ["Rome", "Rome", "Rome"], "answer_start": [40, 2, 2]},
    ],
)
def test_the_layouts_of_squad_are_one_answer(raw):
    expected = '[{"start": 2, "text": "Rome"}, {"start": 40, "text": "Rome"}]'
    assert KIND.parse(raw) == expected
    assert KIND.value(expected) == {"text": ["Rome", "Rome"], "answer_start": [2, 40]}


@pytest.mark.parametrize(
    "raw", ["(No answer) ", [], {"text": [], "answer_start": []}, "[]", NO_ANSWER]
)
def test_no_answer_has_one_spelling(raw):
    assert KIND.parse(raw) == NO_ANSWER
    assert KIND.value(NO_ANSWER) == {"text": [], "answer_start": []}


def test_a_text_alone_is_an_answer_that_may_stand_anywhere():
    assert spans_of(KIND.parse(" Oslo ")) == (Span(-1, "Oslo"),)
    assert spans_of(KIND.parse("{not JSON")) == (Span(-1, "{not JSON"),)


@pytest.mark.parametrize(
    "raw",
    [
        {"text": ["a"], "answer_start": []},
        {"text": ["a"]},
        {"text": [" "], "answer_start": [0]},
        {"text": "a", "start": -2},
        {"text": "a", "start": True},
        7,
    ],
)
def test_what_does_not_fit_is_an_error_that_says_what_does(raw):
    with pytest.raises(DataError, match="answer"):
        KIND.parse(raw)


def test_labels_are_refused():
    with pytest.raises(ValueError, match="has no labels: leave them out"):
        task_kind("extractive_qa", ("a", "b"))


def test_of_many_right_answers_models_see_the_first():
    text = answer_text([Span(i, "x") for i in range(RIGHT + 3)])
    (target,) = KIND.encode([text])
    assert target[:, 0].tolist() == list(range(RIGHT))


def test_specialists_that_are_sure_are_not_asked_about_and_opposed_ones_are():
    sure = measures(nearly(0), nearly(0))
    assert sure.certainty_N.item() == pytest.approx(1, abs=1e-3)
    apart, near = measures(nearly(0), nearly(5)), measures(nearly(0), nearly(0, 5))
    for found in (apart, near):
        assert found.columns["disagreement"].item() > 0.1
    assert apart.columns["disagreement"] > near.columns["disagreement"]
    assert apart.columns["mutual_information"].item() == pytest.approx(1, abs=0.02)
    for name in ("margin", "entropy", "score", "least_confidence", "mutual_information"):
        asked = [KIND.urgency(float(KIND.acquisition(m, name)), name, 2) for m in (sure, apart)]
        assert 0 <= asked[0] < 0.02 < asked[1] <= 1, name


def test_the_same_words_elsewhere_count_together():
    """The most probable span is not the most probable text."""
    found = listed(
        [
            (np.log(p), start, text)
            for p, start, text in [(0.4, 0, "a"), (0.3, 9, "b"), (0.25, 4, "b")]
        ],
        np.log(0.05),
    )
    probs_SNC = KIND.activation([PLAIN])(found[None, None])
    said = KIND.measures(probs_SNC, {})
    assert KIND.predict(said.mean_NC, {}) == ['{"start": 9, "text": "b"}']
    assert said.certainty_N.item() == pytest.approx(0.55, rel=1e-4)
    first, _, second, prob = KIND.prediction_columns(said, {})
    assert [spans_of(each[0].as_py())[0].text for each in (first, second)] == ["b", "a"]
    assert prob[0].as_py() == pytest.approx(0.4, rel=1e-4)


def test_expected_utility_counts_shared_characters():
    half = np.full(LIST + 1, 1e-9)
    half[[0, 1]] = 0.6, 0.4
    said = measures(half)  # "red" at 0 and "the green" at 4 share nothing
    assert said.expected_utility_N.item() == pytest.approx(0.6, abs=1e-3)


def test_specialists_are_weighed_log_linearly():
    each = [lists(np.array([nearly(place)])) for place in (0, 5)]
    outputs_SNC = torch.from_numpy(np.stack(each))
    probs_SNC = KIND.activation([PLAIN] * 2)(outputs_SNC)
    for weights, place in (([0.9, 0.1], 0), ([0.1, 0.9], 5)):
        mean_NC = KIND.pooling(probs_SNC)(torch.tensor(weights))
        assert spans_of(KIND.predict(mean_NC, {})[0])[0] == (STARTS[place], WORDS[place])
        said = KIND.measures(probs_SNC, {"weights": weights})
        torch.testing.assert_close(said.mean_NC, mean_NC)


def test_the_consensus_is_the_answer_that_shares_most_words_with_the_others():
    answers = [Span(4, "Denver"), Span(0, "the Denver Broncos"), Span(4, "Denver Broncos win")]
    votes = Votes(np.zeros(3, int), np.arange(3), tuple(answer_text([each]) for each in answers))
    assert KIND.consensus(votes) == {0: answer_text([answers[1]])}
    assert KIND.settled(votes, 0.9) == set()
    texts = ('{"start": 0, "text": "The Alps"}', '{"start": 4, "text": "Alps"}')
    same = Votes(np.zeros(2, int), np.arange(2), texts)
    assert KIND.settled(same, 0.9) == {0}


def test_label_studio_marks_characters_or_says_that_there_is_none():
    form = KIND.form()
    (region,) = form.result('{"start": 7, "text": "Rome"}', "label", "text_2")
    assert region["value"] == {"start": 7, "end": 11, "text": "Rome", "labels": ["Answer"]}
    (none,) = form.result(NO_ANSWER, "label", "text_2")
    assert form.answer([none], "label") == form.answer([none], "label-none") == NO_ANSWER
    with pytest.raises(DataError, match="is marked, and it is said"):
        form.answer([region, none], "label")
    with pytest.raises(DataError, match="not known where 'Rome' stands"):
        form.result(KIND.parse("Rome"), "label", "text_2")
    assert json.loads(json.dumps([region])) == [region]
    assert form.shown('[{"start": 2, "text": "Rome"}, {"start": 9, "text": "Rome"}]') == "Rome"


def test_an_answer_is_moved_to_where_it_stands():
    sample = joined(["Where?", "in Rome, or near Rome"])
    moved = {
        '{"start": 3, "text": "Rome"}': 3,
        '{"start": 4, "text": "Rome"}': 3,
        '{"start": 16, "text": "Rome"}': 17,
        KIND.parse("Rome"): 3,
    }
    for answer, start in moved.items():
        assert KIND.parse(answer, sample) == answer_text([Span(start, "Rome")])
    assert KIND.parse(NO_ANSWER, sample) == NO_ANSWER
    with pytest.raises(DataError, match="answer 'Bern' is not in the text"):
        KIND.parse("Bern", sample)
    with pytest.raises(DataError, match="'Rome' is not at 9 of the text, but at 3, 17"):
        KIND.parse('{"start": 9, "text": "Rome"}', sample)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("start", [3, 20, -1])
def test_an_answer_is_written_with_the_characters_of_its_context(form, written, start):
    context = unicodedata.normalize(form, "in Orléans")
    text = unicodedata.normalize(written, " Orléans ")
    answer = KIND.parse({"start": start - 1 if start > 0 else start, "text": text}, context)
    assert answer == answer_text([Span(3, context[3:])])


def test_a_sample_that_could_not_be_read_has_no_measures_and_leaves_others_alone():
    good = lists(np.array([nearly(0)]))
    outputs_SNC = torch.from_numpy(np.concatenate([good, np.full_like(good, np.nan)]))[None]
    found = KIND.measures(KIND.activation([PLAIN])(outputs_SNC.expand(2, -1, -1)), {})
    for name, values_N in found.columns.items():
        assert values_N.isfinite().tolist() == [True, False], name
    columns = KIND.prediction_columns(found, {})
    assert spans_of(columns[0][0].as_py()) == (Span(STARTS[0], WORDS[0]),)
    assert KIND.acquisition(found, "margin").isfinite().tolist() == [True, False]


@pytest.mark.parametrize("text", ["[1]", "[12, 3]", "{}", '{"a": 1}'])
def test_a_text_that_happens_to_be_json_is_a_text(text):
    assert KIND.parse(text, joined(["Which?", f"see {text} for it"])) == answer_text(
        [Span(4, text)]
    )


def test_json_that_nobody_can_read_is_a_text_that_is_not_there():
    for start in ("9" * 5000, "[" * 5000):
        with pytest.raises(DataError, match="is not in the text"):
            KIND.parse(f'{{"start": {start}, "text": "Rome"}}', joined(["Where?", "in Rome"]))
