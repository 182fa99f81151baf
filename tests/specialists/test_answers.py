"""Networks that read the tokens of a question and its context. Axes as in the module."""

import itertools

import numpy as np
import pytest
import torch

from tests.networks import write_text_network
from tests.specialists.test_fine_tuning import text_encoder
from tests.tiny import PLAIN
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.errors import ConfigError
from umc_ray.methods.candidates import text_of, unpack
from umc_ray.methods.text_pair import joined
from umc_ray.specialists.answers import OnEmbedding, OnTokens, answers_of, places_of
from umc_ray.specialists.fine_tuned import TUNINGS
from umc_ray.specialists.fine_tuning import FineTuning
from umc_ray.specialists.network import trainable_encoder
from umc_ray.tasks.extractive_qa import ExtractiveQA
from umc_ray.tasks.span_answers import NO_ANSWER, Span, answer_text

KIND = ExtractiveQA()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return text_encoder(write_text_network(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def reader(config):
    return trainable_encoder(config, "tokens")


def short(config, max_tokens):
    return trainable_encoder(config.model_copy(update={"max_tokens": max_tokens}), "tokens")


def context(n, seed=0):
    return " ".join(np.random.default_rng(seed).choice(PLAIN, n))


def test_each_token_knows_where_it_stands_in_the_context_and_others_stand_nowhere(reader):
    text = "word1 word2, word3"
    (offsets,) = reader.prepare(joined(["good bad", text])).offsets
    inside = [text[start:end] for start, end in offsets.tolist() if start >= 0]
    assert inside == ["word1", "word2", ",", "word3"]
    assert (offsets[:2] == -1).all()  # the question


def test_a_long_context_is_read_in_windows_that_overlap_and_cover_it(config):
    reader = short(config, 64)
    text = context(150)
    passage = reader.prepare(joined(["good bad", text]))
    assert len(passage.tokens) > 2
    seen = [{tuple(each) for each in own.tolist() if each[0] >= 0} for own in passage.offsets]
    assert len(set.union(*seen)) == 150
    assert all(first & second for first, second in itertools.pairwise(seen))
    assert all(len(window["input_ids"]) <= 64 for window in passage.tokens)


def test_a_question_that_leaves_no_room_is_cut(config):
    reader = short(config, 64)
    passage = reader.prepare(joined([context(300, seed=1), context(40)]))
    inside = {tuple(each) for own in passage.offsets for each in own.tolist() if each[0] >= 0}
    assert len(inside) == 40


def test_the_most_probable_spans_of_all_windows_are_the_outputs(config):
    reader = short(config, 64)
    passages = [reader.prepare(joined(["good", context(n, seed=n)])) for n in (5, 120)]
    logits = torch.zeros(sum(len(each.tokens) for each in passages), 64, 2)
    window = len(passages[0].tokens) + len(passages[1].tokens) - 1  # the last one
    place = int(np.flatnonzero(passages[1].offsets[-1][:, 0] >= 0)[-1])
    logits[window, place] = 12
    start, end = passages[1].offsets[-1][place].tolist()
    found = unpack(reader.outputs(logits, passages))
    assert int(found.starts_K[1, 0]) == start
    assert text_of(found.bytes_KW[1, 0]) == passages[1].context[start:end]
    assert float(found.values_K[1, 0].exp()) > 0.98
    total_N = found.values_K.exp().sum(1) + found.rest.exp()
    torch.testing.assert_close(total_N, torch.ones(2), atol=1e-4, rtol=0)


def test_an_answer_is_found_where_it_is_said_to_be_or_where_its_text_is():
    text = "ink, red ink and ink"
    (start, length, key), *_ = KIND.encode([answer_text([Span(9, "ink")])])[0].tolist()
    assert places_of(text, start, length, key) == [(9, 12)]
    assert places_of(text, start + 1, length, key) == [(0, 3), (9, 12), (17, 20)]
    assert places_of(text, -1, length, key) == [(0, 3), (9, 12), (17, 20)]
    assert places_of("no such word", -1, length, key) == []
    assert places_of(text, *KIND.encode([NO_ANSWER])[0, 0].tolist()) == []


def test_top_layers_see_of_each_window_what_the_layers_below_gave(config):
    reader = short(config, 64)
    passages = [reader.prepare(joined(["good", context(n, seed=n)])) for n in (5, 120, 70)]
    specialist = SpecialistConfig(kind="top_layers", layers=1)
    top = TUNINGS["top_layers"](reader, passages, specialist)
    whole = TUNINGS["full"](reader, passages, specialist)
    cut, network = top.network(2).eval(), whole.network(2).eval()
    cut.output.load_state_dict(network.output.state_dict())
    with torch.inference_mode():
        found, expected = top.outputs(cut, [2, 1]), whole.outputs(network, [2, 1])
        known = reader.collate([passages[2], passages[1]])["attention_mask"].bool()
    assert len(found) == len(passages[2].tokens) + len(passages[1].tokens) > 3
    torch.testing.assert_close(found[known], expected[known], atol=2e-3, rtol=0)


def rows(n):
    """Questions where the word is that others are not, or whether there is one."""
    rng, payloads, answers = np.random.default_rng(0), [], []
    for i in range(n):
        words = rng.permutation([*rng.choice(PLAIN[2:], 4), "good" if i % 3 else PLAIN[0]])
        text = " ".join(words)
        payloads.append(joined(["where", text]))
        answers.append(answer_text([Span(text.index("good"), "good")]) if i % 3 else NO_ANSWER)
    return payloads, answers


def test_a_network_learns_which_word_is_asked_for_and_says_so_once_it_is_stored(reader, config):
    payloads, answers = rows(30)
    specialist, ones_N = SpecialistConfig(kind="full", epochs=5), np.ones(30, np.float32)
    tuning = TUNINGS["full"](reader, [reader.prepare(each) for each in payloads], specialist)
    found = FineTuning(
        tuning,
        KIND,
        KIND.encode(answers),
        ones_N,
        np.arange(30) % 2,
        [len(each) for each in payloads],
        training_weights_N=ones_N,
        epochs=5,
        learning_rate=0.02,
        accumulate=1,
        seed=0,
        on_epoch=lambda *_: None,
    ).run()
    again = TUNINGS["full"].load(
        trainable_encoder(config, "tokens"), tuning.tensors(found.network), specialist, tuning.card
    )
    outputs_NC = again.encode([again.prepare(each) for each in payloads]).astype(np.float32)
    probs_NC = KIND.activation([{"temperature": 1.0}])(torch.from_numpy(outputs_NC)[None])[0]
    assert KIND.utility(KIND.predict(probs_NC, {}), answers).mean() > 0.8
    held_out = KIND.activation([{"temperature": 1.0}])(torch.from_numpy(found.held_out_NC)[None])[0]
    assert KIND.utility(KIND.predict(held_out, {}), answers).mean() > 0.6


def test_only_text_encoders_read_tokens():
    with pytest.raises(ConfigError, match="spans need a text encoder"):
        OnTokens(EncoderConfig(kind="pixels"))
    assert isinstance(answers_of(object()), OnEmbedding)
