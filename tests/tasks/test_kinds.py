"""What holds for every kind of task. A new kind is one more entry of SAMPLES.

Suffixes: S specialists, N samples, C outputs, M models fitted together.
"""

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.answer_lists import (
    QA_ANSWERS,
    agreeing_lists,
    draw_candidate,
    honest_lists,
    list_log_loss,
    squad_quality,
    too_sure_lists,
)
from tests.tasks.written_lists import (
    WRITTEN_ANSWERS,
    agreeing_texts,
    draw_text,
    honest_texts,
    sacrebleu_quality,
    some_texts,
    too_sure_texts,
    written_log_loss,
)
from umc_ray.errors import ConfigError, DataError
from umc_ray.methods.unicode_text import is_blank, without_invisible
from umc_ray.passes.score import score_schema, score_table
from umc_ray.release.dataset import Column, hub_feature
from umc_ray.tasks.classification import Classification
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.generation import Generation
from umc_ray.tasks.multi_label import MultiLabel
from umc_ray.tasks.registry import KINDS, task_kind
from umc_ray.tasks.regression import Regression
from umc_ray.tasks.task import TaskKind, Votes, agreement

LABELS = ("bad", "good", "so so", "3")
ACQUISITIONS = ("margin", "entropy", "score", "least_confidence", "mutual_information")


def logits(rng, n, outputs):
    return rng.normal(scale=1.5, size=(n, outputs)).astype(np.float32)


def standard_normal(rng, shape, outputs):
    return rng.normal(size=(*shape, outputs)).astype(np.float32)


def agreeing_logits(rng, specialists, n, outputs):
    """Outputs SNC of specialists that mostly agree."""
    common_NC = rng.normal(scale=2, size=(n, outputs))
    own_SNC = rng.normal(scale=0.7, size=(specialists, n, outputs))
    return (common_NC + own_SNC).astype(np.float32)


@dataclass(frozen=True)
class Samples:
    """What a test needs to know of a kind to make something up for it.

    `answers`: raw answers that are all different. `wrong`: what is no answer. `decision`: one that
    matters. `draw`: from logits to answers that are drawn from their probabilities. `quality`: by
    scikit-learn, of predictions and answers. Without `any_labels` the kind has labels of its own,
    and a campaign names none. `honest`: outputs NC of a calibrated model. `overconfident`: makes
    them too sure, which costs a log-loss of which `helped` is left after calibration. `step`: how
    far outputs of zero are from the answers along the gradient. `options`: what a campaign names
    beside labels. `agreeing`: outputs SNC of specialists that mostly agree. `some`: any outputs,
    the last axis C.
    """

    kind: TaskKind
    answers: tuple[Any, ...]
    wrong: tuple[Any, ...]
    decision: dict[str, Any]
    log_loss: Callable[[np.ndarray, np.ndarray], float]
    draw: Callable[[np.ndarray, np.random.Generator], list[str]]
    quality: Callable[[list[str], list[str]], dict[str, float]]
    any_labels: bool = True
    honest: Callable[[np.random.Generator, int, int], np.ndarray] = logits
    overconfident: Callable[[np.ndarray], np.ndarray] = lambda logits_NC: 4 * logits_NC
    helped: float = 0.8
    step: float = 10.0
    options: dict[str, Any] = field(default_factory=dict)
    agreeing: Callable[[np.random.Generator, int, int, int], np.ndarray] = agreeing_logits
    some: Callable[[np.random.Generator, tuple[int, ...], int], np.ndarray] = standard_normal


def draw_class(logits_NC, rng):
    gumbel_NC = -np.log(-np.log(rng.random(logits_NC.shape)))
    return [LABELS[i] for i in (logits_NC + gumbel_NC).argmax(1)]


def draw_set(logits_NC, rng):
    picked_NC = rng.random(logits_NC.shape) < 1 / (1 + np.exp(-logits_NC))
    return [
        " | ".join(label for label, picked in zip(LABELS, row, strict=True) if picked) or "(none)"
        for row in picked_NC
    ]


def mean_and_log_variance(rng, n, outputs):
    return np.stack([rng.uniform(-0.3, 0.3, n), rng.normal(-0.5, 0.7, n)], 1).astype(np.float32)


def too_sure(outputs_NC):
    return outputs_NC - np.float32([0, np.log(16)])


def draw_number(outputs_NC, rng):
    mean_N, deviation_N = outputs_NC[:, 0] / 2, np.sqrt(0.01 + np.exp(outputs_NC[:, 1]) / 16)
    drawn_N = np.clip(rng.normal(mean_N, deviation_N), -0.5, 0.5)
    return [str(round(5 * (each + 0.5), 6)) for each in drawn_N.tolist()]


def number_log_loss(moments_N2, targets_N):
    mean_N = moments_N2[:, 0].astype(float)
    deviation_N = np.sqrt(moments_N2[:, 1] - mean_N**2)
    return -scipy.stats.norm.logpdf(targets_N, mean_N, deviation_N).mean() - np.log(0.01)


def number_quality(predicted, targets):
    x, y = np.float64(predicted), np.float64(targets)
    return {
        "utility": 1 - sklearn.metrics.mean_absolute_error(y, x) / 5,
        "Pearson": scipy.stats.pearsonr(y, x).statistic,
        "Spearman": scipy.stats.spearmanr(y, x).statistic,
        "RMSE": sklearn.metrics.root_mean_squared_error(y, x),
        "MAE": sklearn.metrics.mean_absolute_error(y, x),
    }


def class_log_loss(probs_NC, targets_N):
    return sklearn.metrics.log_loss(targets_N, probs_NC, labels=np.arange(len(LABELS)))


def set_log_loss(probs_NC, targets_NC):
    columns = zip(targets_NC.T, probs_NC.T, strict=True)
    return sum(sklearn.metrics.log_loss(y_N, p_N, labels=[0, 1]) for y_N, p_N in columns)


def class_quality(predicted, targets):
    recalls = sklearn.metrics.recall_score(targets, predicted, average=None, labels=LABELS)
    return {
        "utility": sklearn.metrics.accuracy_score(targets, predicted),
        "balanced accuracy": sklearn.metrics.balanced_accuracy_score(targets, predicted),
        "macro F1": sklearn.metrics.f1_score(targets, predicted, average="macro"),
        "Matthews correlation": sklearn.metrics.matthews_corrcoef(targets, predicted),
        **{f"recall of {label}": each for label, each in zip(LABELS, recalls, strict=True)},
    }


def set_quality(predicted, targets):
    kind = MultiLabel(LABELS)
    truth, found = kind.encode(targets) > 0, kind.encode(predicted) > 0
    options = {"zero_division": 0.0}
    return {
        "utility": sklearn.metrics.jaccard_score(
            truth, found, average="samples", zero_division=1.0
        ),
        "micro F1": sklearn.metrics.f1_score(truth, found, average="micro", **options),
        "macro F1": sklearn.metrics.f1_score(truth, found, average="macro", **options),
        "exact match": sklearn.metrics.accuracy_score(truth, found),
    }


SAMPLES = {
    "classification": Samples(
        kind=Classification(LABELS),
        answers=("bad", "good", "so so", 3.0),
        wrong=("", "none", "bad | good", None, 4, ["bad", "good"], [], ["none"], [["bad"]]),
        decision={},
        log_loss=class_log_loss,
        draw=draw_class,
        quality=class_quality,
    ),
    "multi_label": Samples(
        kind=MultiLabel(LABELS),
        answers=("bad", ["good", "bad"], "3 | so so", [], 3, ["3", "good"], "bad|good|so so|3"),
        wrong=("", "none", "bad | none", None, ["bad", ""], ["(none)", "bad"], 4),
        decision={"thresholds": [0.3, 0.5, 0.8, 0.1]},
        log_loss=set_log_loss,
        draw=draw_set,
        quality=set_quality,
    ),
    "extractive_qa": Samples(
        kind=ExtractiveQA(),
        answers=QA_ANSWERS,
        wrong=("", None, 4, {"text": "", "start": 3}, {"start": 3}, {"text": "a", "start": 1.5}),
        decision={},
        log_loss=list_log_loss,
        draw=draw_candidate,
        quality=squad_quality,
        any_labels=False,
        honest=honest_lists,
        overconfident=too_sure_lists,
        agreeing=agreeing_lists,
        some=lambda rng, shape, outputs: (
            np.stack([honest_lists(rng, shape[-1], outputs) for _ in range(shape[0])])
            if len(shape) > 1
            else honest_lists(rng, shape[0], outputs)
        ),
    ),
    "generation": Samples(
        kind=Generation((), 60),
        answers=WRITTEN_ANSWERS,
        wrong=(
            "",
            None,
            4,
            [],
            [""],
            ["a", 2],
            "x" * 61,
            {"text": "a"},
            "a\0b",
            '{"references": [',
        ),
        decision={"certainty": [0.0, 1.0], "worth": [0.0, 1.0]},
        log_loss=written_log_loss,
        draw=draw_text,
        quality=sacrebleu_quality,
        any_labels=False,
        options={"max_answer_bytes": 60},
        honest=honest_texts,
        overconfident=too_sure_texts,
        agreeing=agreeing_texts,
        some=some_texts,
    ),
    "regression": Samples(
        kind=Regression((), (0.0, 5.0)),
        answers=("4.25", 0, 5.0, "1e-3", 2, 0.1 + 0.2, "1.50"),
        wrong=("", "none", None, 5.01, -0.1, "nan", "inf", True, [1, 2], "1 2", "3,5"),
        decision={},
        log_loss=number_log_loss,
        draw=draw_number,
        quality=number_quality,
        any_labels=False,
        honest=mean_and_log_variance,
        overconfident=too_sure,
        helped=0.95,
        step=0.29,
        options={"range": (0.0, 5.0)},
    ),
}


def test_every_kind_is_tested():
    assert SAMPLES.keys() == KINDS.keys()
    for name, each in SAMPLES.items():
        assert each.kind.name == name
        assert task_kind(name, LABELS if each.any_labels else (), **each.options) == each.kind


@pytest.fixture(params=KINDS)
def samples(request):
    return SAMPLES[request.param]


@pytest.fixture
def only_numbers(samples):
    if samples.kind.learned_from != "embedding":
        pytest.skip(
            "outputs are lists of candidates: tests/tasks/test_extractive_qa.py, test_generation.py"
        )


numbers = pytest.mark.usefixtures("only_numbers")
"""Makes up outputs number by number, or answers that are labels."""


@pytest.fixture
def kind(samples):
    return samples.kind


def probabilities(kind, n=200, specialists=3, seed=0):
    """Outputs of specialists that mostly agree, through the kind's activation."""
    rng = np.random.default_rng(seed)
    outputs_SNC = SAMPLES[kind.name].agreeing(rng, specialists, n, kind.outputs)
    return kind.activation([plain(kind)] * specialists)(torch.from_numpy(outputs_SNC))


def plain(kind):
    """A calibration that changes nothing, nearly: of no samples."""
    empty = np.zeros((0, kind.outputs), np.float32)
    return kind.calibrate(empty, kind.encode([]), np.zeros(0, np.float32))


def texts_of(samples):
    return [samples.kind.parse(raw) for raw in samples.answers]


def votes(sample, person, text):
    return Votes(np.array(sample, np.int64), np.array(person, np.int64), tuple(text))


class TestAnswers:
    def test_different_answers_are_different_texts_and_parsing_them_again_changes_nothing(
        self, samples
    ):
        texts = texts_of(samples)
        assert len(set(texts)) == len(texts)
        assert [samples.kind.parse(text) for text in texts] == texts

    @numbers
    def test_an_answer_may_be_in_any_case_and_have_blanks_around_it(self, samples):
        for text in texts_of(samples):
            assert samples.kind.parse(text.upper()) == text
            assert samples.kind.parse(f"\u00a0{text.title()} \u200b") == text

    def test_a_list_of_one_answer_stands_for_it(self, samples):
        for label in samples.kind.labels:
            assert samples.kind.parse([label]) == samples.kind.parse(label) == label

    def test_what_is_no_answer_is_an_error_in_one_line(self, samples):
        for raw in samples.wrong:
            with pytest.raises(DataError) as raised:
                samples.kind.parse(raw)
            assert "\n" not in str(raised.value)

    def test_the_value_of_an_answer_is_one_and_can_be_parsed(self, samples):
        texts = texts_of(samples)
        values = [samples.kind.value(text) for text in texts]
        column = pa.array(values, samples.kind.target_type)
        assert column.to_pylist() == values
        assert [samples.kind.parse(value) for value in column.to_pylist()] == texts
        assert hub_feature(Column("label", samples.kind.target_type, "an answer"))

    def test_answers_are_encoded_one_by_one(self, samples):
        texts = texts_of(samples)
        targets = samples.kind.encode(texts)
        assert len(targets) == len(texts)
        assert len(np.unique(targets, axis=0)) == len(texts)
        for text, target in zip(texts, targets, strict=True):
            np.testing.assert_array_equal(samples.kind.encode([text])[0], target)
        assert samples.kind.encode([]).shape == (0, *targets.shape[1:])
        assert samples.kind.encode([]).dtype == targets.dtype

    def test_strata_and_counts_are_of_the_answers(self, samples):
        texts = texts_of(samples)
        strata = samples.kind.strata([*texts, *texts])
        assert strata.dtype == np.int64
        assert (strata >= 0).all()
        assert len(strata) == 2 * len(texts)
        assert samples.kind.strata([]).tolist() == []
        counts = samples.kind.counts([*texts, *texts])
        assert counts == {label: 2 * n for label, n in samples.kind.counts(texts).items()}
        assert set(counts) <= set(samples.kind.labels)
        assert samples.kind.counts([]) == {}

    def test_an_answer_makes_its_way_through_the_form(self, samples):
        form = samples.kind.form()
        for text in texts_of(samples):
            result = form.result(text, "label", "sample")
            assert json.loads(json.dumps(result)) == result
            assert form.answer(result, "label") == text
        # nothing is chosen: no answer, or an empty set
        nothing = samples.kind.parse([]) if form.multiple else None
        assert form.answer([], "label") == form.answer(result, "other") == nothing
        assert form.labels == samples.kind.labels
        assert {label for text in texts_of(samples) for label in form.chosen(text)} <= {
            *form.labels
        }
        assert form.hint()
        assert 'name="label"' in form.control_xml("label", "sample")
        assert 'toName="sample"' in form.control_xml("label", "sample")

    @numbers
    def test_a_form_gives_and_takes_no_answer_that_is_none(self, samples):
        form = samples.kind.form()
        with pytest.raises(DataError):
            form.result("no such answer", "label", "sample")
        answer = texts_of(samples)[0]
        result = form.result(answer, "label", "sample")
        ((given, value),) = result[0]["value"].items()
        wrong = ["no such answer"] if isinstance(value, list) else "no such answer"
        changed = [{**result[0], "value": {given: wrong}}]
        with pytest.raises(DataError):
            form.answer(changed, "label")

    def test_a_kind_is_a_small_value(self, samples):
        again = pickle.loads(pickle.dumps(samples.kind))
        assert again == samples.kind
        assert hash(again) == hash(samples.kind)
        samples.kind.encode(texts_of(samples))  # what it caches may be sent with it
        assert len(pickle.dumps(samples.kind)) < 1000

    def test_another_label_space_is_another_task(self, samples):
        kind = samples.kind
        if not samples.any_labels:
            with pytest.raises(ValueError, match="labels"):
                task_kind(kind.name, LABELS, **samples.options)
            return
        other = task_kind(kind.name, LABELS[::-1])
        assert other != kind
        assert other.encode(["bad"]).tolist() != kind.encode(["bad"]).tolist()


class TestConsensus:
    def test_equal_votes_agree(self, samples):
        for text in texts_of(samples):
            found = samples.kind.consensus(votes([7, 7, 7], [0, 1, 2], [text] * 3))
            assert found == {7: text}
            assert agreement(samples.kind, text, [text] * 3) == 1

    def test_one_vote_is_the_consensus_of_its_sample(self, samples):
        texts = texts_of(samples)
        n = len(texts)
        found = samples.kind.consensus(votes(range(n, 0, -1), [0] * n, texts))
        assert found == dict(zip(range(n, 0, -1), texts, strict=True))
        assert list(found) == sorted(found)

    def test_it_does_not_depend_on_the_order_of_votes(self, samples):
        rng, texts = np.random.default_rng(0), texts_of(samples)
        sample_V, person_V = np.repeat(np.arange(20), 5), np.tile(np.arange(5), 20)
        text_V = [texts[i] for i in rng.integers(len(texts), size=100)]
        given = votes(sample_V, person_V, text_V)
        for _ in range(3):
            order = rng.permutation(100)
            moved = votes(sample_V[order], person_V[order], [text_V[i] for i in order])
            assert samples.kind.consensus(moved) == samples.kind.consensus(given)
            assert samples.kind.settled(moved, 0.9) == samples.kind.settled(given, 0.9)

    def test_the_consensus_is_an_answer(self, samples):
        rng, texts = np.random.default_rng(1), texts_of(samples)
        text_V = [texts[i] for i in rng.integers(len(texts), size=60)]
        given = votes(np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20), text_V)
        for text in samples.kind.consensus(given).values():
            assert samples.kind.parse(text) == text

    def test_without_votes_there_is_none(self, kind):
        nothing = votes([], [], [])
        assert kind.consensus(nothing) == {}
        assert kind.settled(nothing, 0.9) == kind.tied(nothing) == set()

    def test_where_people_agree_all_is_settled_and_a_dispute_is_not(self, samples):
        first, second = texts_of(samples)[:2]
        agreed = [first] * 40
        given = votes([*np.repeat(np.arange(20), 2), 20, 20], [0, 1] * 21, [*agreed, first, second])
        assert samples.kind.settled(given, 0.95) == set(range(20))

    def test_a_label_that_the_votes_do_not_decide_is_tied(self, samples):
        first, second = texts_of(samples)[:2]
        texts = [first, first, first, second, first, second, second]
        given = votes([0, 0, 1, 1, 2, 2, 2], [0, 1, 0, 1, 0, 1, 2], texts)
        between = samples.kind.name in ("regression", "rating")  # a number lies between two others
        assert samples.kind.tied(given) == (set() if between else {1})

    def test_a_person_counts_once_per_sample(self, samples):
        """The last vote counts, as in the store."""
        first, second = texts_of(samples)[:2]
        given = votes([1] * 5, [0, 0, 0, 1, 2], [first, first, first, second, second])
        assert samples.kind.consensus(given) == {1: second}


class TestModels:
    def test_the_loss_has_one_value_per_model_and_sample_and_a_gradient(self, samples):
        texts = texts_of(samples)
        targets = torch.from_numpy(samples.kind.encode(texts))
        rng = np.random.default_rng(0)
        outputs = torch.from_numpy(samples.some(rng, (3, len(texts)), samples.kind.outputs))
        outputs.requires_grad_()
        found_MN = samples.kind.loss(outputs, targets)
        assert found_MN.shape == (3, len(texts))
        assert (found_MN > 0).all()
        found_MN.sum().backward()
        assert outputs.grad.abs().sum(2).all()
        alone_MN = samples.kind.loss(outputs[1:2], targets)
        torch.testing.assert_close(alone_MN[0], found_MN[1])

    @numbers
    def test_less_loss_is_more_utility(self, samples):
        """A gradient step from nothing leads to the right answers."""
        texts = texts_of(samples)
        targets = samples.kind.encode(texts)
        outputs = torch.zeros(1, len(texts), samples.kind.outputs, requires_grad=True)
        samples.kind.loss(outputs, torch.from_numpy(targets)).sum().backward()
        stepped = (-samples.step * outputs.grad).numpy()
        assert samples.kind.raw_utility(stepped, targets) == pytest.approx(1, abs=0.02)

    def test_calibration_helps_an_overconfident_model(self, samples):
        rng, kind = np.random.default_rng(0), samples.kind
        honest_NC = samples.honest(rng, 1500, kind.outputs)
        texts = samples.draw(honest_NC, rng)
        over_NC, targets = samples.overconfident(honest_NC), kind.encode(texts)
        fitted = kind.calibrate(over_NC[:750], targets[:750], np.ones(750, np.float32))
        before, after, honest = (
            samples.log_loss(kind.activation([each])(torch.from_numpy(z)[None])[0].numpy(), y)
            for each, z, y in (
                (plain(kind), over_NC[750:], targets[750:]),
                (fitted, over_NC[750:], targets[750:]),
                (plain(kind), honest_NC[750:], targets[750:]),
            )
        )
        assert after < samples.helped * before
        assert after == pytest.approx(honest, rel=0.03)
        assert json.loads(json.dumps(fitted)) == fitted

    def test_calibration_leaves_a_calibrated_model_as_it_is(self, samples):
        rng, kind = np.random.default_rng(1), samples.kind
        honest_NC = samples.honest(rng, 3000, kind.outputs)
        targets = kind.encode(samples.draw(honest_NC, rng))
        fitted = kind.calibrate(honest_NC[:1500], targets[:1500], np.ones(1500, np.float32))
        rows = torch.from_numpy(honest_NC[1500:])[None]
        after, before = (
            samples.log_loss(kind.activation([each])(rows)[0].numpy(), targets[1500:])
            for each in (fitted, plain(kind))
        )
        assert after == pytest.approx(before, rel=0.01)

    def test_each_specialist_is_activated_by_its_own_calibration(self, samples):
        rng, kind = np.random.default_rng(2), samples.kind
        z_NC = samples.some(rng, (300,), kind.outputs)
        targets, ones = kind.encode(samples.draw(z_NC, rng)), np.ones(300, np.float32)
        found = [
            kind.calibrate(each, targets, ones) for each in (z_NC, samples.overconfident(z_NC))
        ]
        z_SNC = torch.from_numpy(np.stack([z_NC, samples.overconfident(z_NC)]))
        both = kind.activation(found)(z_SNC)
        for s, each in enumerate(found):
            torch.testing.assert_close(both[s], kind.activation([each])(z_SNC[s : s + 1])[0])
        assert both.shape == (2, 300, kind.outputs)
        if kind.labels:
            assert ((both >= 0) & (both <= 1)).all()

    def test_a_decision_is_json_and_can_be_taken_on_nothing(self, samples):
        rng, kind = np.random.default_rng(3), samples.kind
        z_NC = samples.some(rng, (300,), kind.outputs)
        mean_NC = kind.activation([plain(kind)])(torch.from_numpy(z_NC)[None])[0]
        targets = kind.encode(samples.draw(z_NC, rng))
        for n in (0, 1, 300):
            decision = kind.decide(mean_NC[:n].numpy(), targets[:n], np.ones(n, np.float32))
            assert json.loads(json.dumps(decision)) == decision
            assert decision.keys() == samples.decision.keys()
            assert len(kind.predict(mean_NC, decision)) == 300


class TestPredictions:
    def test_predictions_are_answers(self, samples):
        kind = samples.kind
        mean_NC = probabilities(kind).mean(0)
        found = kind.predict(mean_NC, samples.decision)
        assert [kind.parse(text) for text in found] == found
        assert len(set(found)) > 3
        assert kind.predict(mean_NC[:0], samples.decision) == []

    def test_utility_is_one_for_the_same_answer_and_else_between_zero_and_one(self, samples):
        texts = texts_of(samples)
        assert (samples.kind.utility(texts, texts) == 1).all()
        for text in texts:
            found = samples.kind.utility([text] * len(texts), texts)
            assert found.dtype == np.float32
            assert ((found >= 0) & (found <= 1)).all()
            assert ((found == 1) == (np.array(texts) == text)).all()
        assert samples.kind.utility([], []).shape == (0,)

    def test_raw_utility_is_the_utility_of_uncalibrated_predictions(self, samples):
        rng, kind = np.random.default_rng(4), samples.kind
        z_MNC = samples.some(rng, (2, 50), kind.outputs)
        texts = samples.draw(z_MNC[0], rng)
        found = kind.raw_utility(z_MNC, kind.encode(texts))
        assert found.shape == (2, 50)
        for z_NC, utility_N in zip(z_MNC, found, strict=True):
            mean_NC = kind.activation([plain(kind)])(torch.from_numpy(z_NC)[None])[0]
            expected = kind.utility(kind.predict(mean_NC, {}), texts)
            np.testing.assert_allclose(utility_N, expected, atol=1e-3)

    def test_measures_are_finite_and_in_their_ranges(self, samples):
        kind = samples.kind
        probs_SNC = probabilities(kind)
        found = kind.measures(probs_SNC, samples.decision)
        if kind.learned_from == "embedding":
            torch.testing.assert_close(found.mean_NC, probs_SNC.mean(0))
        assert found.columns.keys() == kind.measures_about.keys()
        for name, values_N in found.columns.items():
            assert values_N.shape == (200,), name
            assert values_N.dtype == torch.float32, name
            assert values_N.isfinite().all(), name
        for values_N in (found.expected_utility_N, found.certainty_N):
            assert values_N.shape == (200,)
            assert ((values_N >= 0) & (values_N <= 1)).all()
        least_N = kind.right_from * found.certainty_N
        assert (least_N <= found.expected_utility_N + 1e-5).all()
        assert ((found.columns["disagreement"] >= 0) & (found.columns["disagreement"] <= 1)).all()

    @numbers
    def test_measures_do_not_break_where_specialists_are_certain(self, samples):
        kind = samples.kind
        sure = torch.zeros(1, 2, kind.outputs)
        sure[:, :, 0] = 1
        found = kind.measures(torch.cat([sure, sure]), samples.decision)
        for name, values_N in found.columns.items():
            assert values_N.isfinite().all(), name
        assert found.certainty_N.tolist() == [1, 1]
        assert found.expected_utility_N.tolist() == [1, 1]
        for name in ACQUISITIONS:
            urgency = kind.urgency(float(kind.acquisition(found, name)[0]), name, 2)
            assert urgency == pytest.approx(0, abs=1e-6), name

    def test_identical_specialists_do_not_disagree(self, samples):
        one = probabilities(samples.kind, specialists=1)
        for same in (one, one.expand(4, -1, -1)):
            found = samples.kind.measures(same, samples.decision).columns
            assert found["disagreement"].numpy() == pytest.approx(np.zeros(200), abs=1e-5)
            assert found["mutual_information"].numpy() == pytest.approx(np.zeros(200), abs=1e-5)

    @numbers
    def test_opposed_specialists_disagree(self, samples):
        kind = samples.kind
        first = torch.zeros(1, 1, kind.outputs)
        second = first.clone()
        first[..., 0], second[..., 1] = 1, 1
        apart = kind.measures(torch.cat([first, second]), samples.decision).columns
        assert apart["disagreement"] > 0.4
        assert apart["mutual_information"] > 0.4

    def test_the_order_of_specialists_does_not_matter(self, samples):
        probs_SNC = probabilities(samples.kind)
        found, moved = (
            samples.kind.measures(each, samples.decision) for each in (probs_SNC, probs_SNC.flip(0))
        )
        for name, values_N in found.columns.items():
            torch.testing.assert_close(moved.columns[name], values_N, atol=1e-5, rtol=1e-4)

    def test_expected_utility_is_what_comes_of_calibrated_probabilities(self, samples):
        rng, kind = np.random.default_rng(5), samples.kind
        z_NC = samples.honest(rng, 8000, kind.outputs)
        probs_SNC = kind.activation([plain(kind)])(torch.from_numpy(z_NC)[None])
        texts = samples.draw(z_NC, rng)
        found = kind.measures(probs_SNC, samples.decision)
        predicted = kind.predict(probs_SNC[0], samples.decision)
        utility_N = kind.utility(predicted, texts)
        right_N = kind.utility(predicted, texts) >= kind.right_from
        assert found.certainty_N.mean() == pytest.approx(right_N.mean(), abs=0.02)
        # a ratio of expectations, for several labels
        assert found.expected_utility_N.mean() == pytest.approx(utility_N.mean(), abs=0.06)

    @pytest.mark.parametrize("name", ACQUISITIONS)
    def test_acquisition_functions_are_defined_and_urgency_is_a_share(self, samples, name):
        kind = samples.kind
        for specialists in (1, 3):
            measures = kind.measures(probabilities(kind, specialists=specialists), samples.decision)
            values_N = kind.acquisition(measures, name)
            assert values_N.shape == (200,)
            assert values_N.isfinite().all()
            urgency = [kind.urgency(float(value), name, specialists) for value in values_N]
            assert min(urgency) >= 0
            assert max(urgency) <= 1
            assert (np.diff(np.array(urgency)[values_N.argsort().numpy()]) >= 0).all()

    def test_an_unknown_acquisition_function_is_an_error(self, samples):
        measures = samples.kind.measures(probabilities(samples.kind), samples.decision)
        with pytest.raises(ConfigError, match="unknown acquisition 'loudness'; known: margin"):
            samples.kind.acquisition(measures, "loudness")

    @numbers
    @pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence"])
    def test_what_is_undecided_is_more_urgent_than_what_is_clear(self, samples, name):
        kind = samples.kind
        z_NC = torch.zeros(1, 2, kind.outputs)
        z_NC[0, 1, 0] = 8
        z_NC[0, 1, 1:] = -8
        probs_SNC = kind.activation([plain(kind)])(z_NC)
        open_, clear = kind.acquisition(kind.measures(probs_SNC, {}), name).tolist()
        assert open_ > clear


class TestStoredPredictions:
    def stored(self, samples, probs_SNC):
        kind = samples.kind
        measures = kind.measures(probs_SNC, samples.decision)
        ids_N = np.arange(probs_SNC.shape[1])
        return measures, score_table(kind, ids_N, measures, samples.decision)

    def test_stored_columns_read_back_are_the_predictions(self, samples):
        kind, probs_SNC = samples.kind, probabilities(samples.kind)
        measures, table = self.stored(samples, probs_SNC)
        assert table.schema == score_schema(kind)
        predicted, certainty = kind.predicted(table)
        assert predicted == kind.predict(measures.mean_NC, samples.decision)
        assert certainty == pytest.approx(measures.certainty_N.tolist())
        rows = np.random.default_rng(0).permutation(200)
        moved, _ = kind.predicted(table.take(pa.array(rows)))
        assert moved == [predicted[row] for row in rows]
        assert kind.predicted(table[:0]) == ([], [])

    def test_columns_of_no_samples_can_be_stored(self, samples):
        _, table = self.stored(samples, probabilities(samples.kind)[:, :0])
        assert table.num_rows == 0
        assert table.schema == score_schema(samples.kind)

    @numbers
    def test_outputs_that_are_equal_are_stored_as_they_are_predicted(self, samples):
        even = torch.full((2, 40, samples.kind.outputs), 1 / samples.kind.outputs)
        measures, table = self.stored(samples, even)
        predicted, _ = samples.kind.predicted(table)
        assert predicted == samples.kind.predict(measures.mean_NC, samples.decision)
        assert len(set(predicted)) == 1

    def test_why_a_person_should_look_is_said_of_each(self, samples):
        _, table = self.stored(samples, probabilities(samples.kind))
        for row in table.to_pylist():
            said = samples.kind.explain(row)
            assert any(label in said for label in samples.kind.labels) or not samples.kind.labels
            disagreement = f"{row['disagreement']:.2f}"
            assert ("disagree" in said) == (disagreement != "0.00")
            assert "disagree" not in said or disagreement in said
            assert "\n" not in said

    def test_people_are_shown_what_the_ensemble_and_each_specialist_predict(self, samples):
        kind, probs_SNC = samples.kind, probabilities(samples.kind)
        measures = kind.measures(probs_SNC, samples.decision)
        names = ("anna", "bob", "cem")
        found = kind.describe(probs_SNC, names, samples.decision)
        assert [each.predicted for each in found] == kind.predict(
            measures.mean_NC, samples.decision
        )
        certainty = [each.confidence for each in found]
        assert certainty == pytest.approx(measures.certainty_N.tolist(), abs=1e-4)
        for s, name in enumerate(names):
            alone = kind.predict(probs_SNC[s], samples.decision)
            assert [each.specialists[name][0] for each in found] == alone
        for i, each in enumerate(found):
            assert tuple(each.specialists) == names
            assert all(0 <= share <= 1 for _, share in each.specialists.values())
            assert each.measures.keys() == kind.measures_about.keys()
            assert list(each.shares) == list(kind.labels)
            if kind.labels:
                shares = list(each.shares.values())
                assert shares == pytest.approx(measures.mean_NC[i].tolist(), abs=1e-4)
        json.dumps([dict(each.shares) | dict(each.measures) for each in found])

    def test_a_specialist_alone_is_as_sure_as_an_ensemble_of_it_alone(self, samples):
        kind, one = samples.kind, probabilities(samples.kind, specialists=1)
        for each in kind.describe(one, ["anna"], samples.decision):
            predicted, share = each.specialists["anna"]
            assert predicted == each.predicted
            assert share == pytest.approx(each.confidence, abs=1e-4)

    def test_quality_is_that_of_scikit_learn(self, samples):
        rng, kind = np.random.default_rng(6), samples.kind
        z_NC = samples.honest(rng, 300, kind.outputs)
        probs_SNC = kind.activation([plain(kind)])(torch.from_numpy(z_NC)[None])
        targets = samples.draw(z_NC, rng)
        _, table = self.stored(samples, probs_SNC)
        found = kind.quality(table, targets)
        predicted, _ = kind.predicted(table)
        expected = samples.quality(predicted, targets)
        assert found.n == 300
        assert found.utility.value == pytest.approx(expected.pop("utility"))
        shown = {**found.figures, **found.correlations, **found.errors}
        values = {name: each.value for name, each in shown.items()}
        assert values == pytest.approx(expected, abs=1e-9, rel=1e-9)
        for each in (found.utility, *found.figures.values()):
            assert 0 <= each.low <= each.value <= each.high <= 1
        for each in found.correlations.values():
            assert -1 <= each.low <= each.value <= each.high <= 1
        for each in found.errors.values():
            assert 0 <= each.low <= each.value <= each.high
        exact_N = kind.utility(predicted, targets) >= kind.right_from
        assert sum(found.reliability.count_K) == 300
        right = np.dot(found.reliability.accuracy_K, found.reliability.count_K)
        assert right == pytest.approx(exact_N.sum())
        assert found.ece < 0.1
        assert 0 <= found.ece == found.reliability.error()
        if found.confusion is not None:
            theirs = sklearn.metrics.confusion_matrix(targets, predicted, labels=list(kind.labels))
            assert found.confusion == theirs.tolist()
        assert kind.quality(table, targets) == found

    def test_perfect_predictions_have_perfect_quality(self, samples):
        _, table = self.stored(samples, probabilities(samples.kind))
        predicted, _ = samples.kind.predicted(table)
        found = samples.kind.quality(table, predicted)
        assert found.utility.value == 1
        perfect = {**found.figures, **found.correlations}
        assert [each.value for each in perfect.values()] == pytest.approx([1] * len(perfect))
        assert all(each.value == 0 for each in found.errors.values())


@pytest.mark.parametrize("name", [name for name, each in SAMPLES.items() if each.any_labels])
@given(data=st.data())
def test_any_answer_survives_its_way_there_and_back(name, data):
    """Labels are any names that a campaign file may hold."""
    words = st.text(
        st.characters(blacklist_categories=("Cs",), blacklist_characters="|\0"), min_size=1
    )
    words = words.map(str.strip).filter(lambda word: not is_blank(word))
    names = data.draw(st.lists(words, min_size=2, unique_by=without_invisible))
    labels = tuple(each for each in names if each.casefold() != "(none)")
    if len(labels) < 2:
        return
    kind = task_kind(name, labels)
    chosen = data.draw(st.lists(st.sampled_from(labels), min_size=1, unique=True))
    raw = chosen if kind.form().multiple else chosen[0]
    text = kind.parse(raw)
    assert kind.parse(text) == text
    assert kind.parse(kind.value(text)) == text
    (target,) = kind.encode([text])
    np.testing.assert_array_equal(kind.encode([kind.parse(kind.value(text))])[0], target)
    result = kind.form().result(text, "label", "sample")
    assert kind.form().answer(json.loads(json.dumps(result)), "label") == text
    assert kind.utility([text], [text]).tolist() == [1]
    assert kind.consensus(votes([1, 1], [0, 1], [text, text])) == {1: text}


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("classification", ("a",)),
        ("classification", ("a", "a")),
        ("classification", ()),
        ("multi_label", ()),
        ("multi_label", ("a", "a")),
        ("multi_label", ("a", "b|c")),
        ("multi_label", ("a", "(none)")),
        ("multi_label", ("a", " b")),
        ("multi_label", ("a", "")),
    ],
)
def test_labels_that_a_kind_cannot_tell_apart_are_refused(name, labels):
    with pytest.raises(ValueError, match="label") as raised:
        task_kind(name, labels)
    assert "\n" not in str(raised.value)


def test_one_label_is_enough_where_it_may_be_missing():
    kind = task_kind("multi_label", ("spam",))
    assert [kind.parse("spam"), kind.parse([])] == ["spam", "(none)"]
    assert kind.encode(["spam", "(none)"]).tolist() == [[1], [0]]


def test_an_unknown_kind_is_an_error_that_lists_those_there_are():
    with pytest.raises(ConfigError, match="unknown kind 'ranking'; known: classification, multi"):
        task_kind("ranking", ("a", "b"))


@pytest.mark.parametrize(
    ("rating", "label"), [(-3, "bad"), (-1, "bad"), (0, None), (1, "3"), (120, "3")]
)
def test_a_rating_is_the_first_or_the_last_class(rating, label):
    assert Classification(LABELS).of_rating(rating) == label
