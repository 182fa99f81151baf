"""Networks that write texts. Axes as in the module."""

import numpy as np
import pytest
import torch

from tests.networks import write_writer
from tests.specialists.test_fine_tuning import text_encoder
from tests.tiny import PLAIN
from umc_ray.config.specialist import SpecialistConfig
from umc_ray.methods.text_lists import fitted, size_of, texts_of, unpack
from umc_ray.specialists.fine_tuned import TUNINGS
from umc_ray.specialists.fine_tuning import FineTuning
from umc_ray.specialists.network import trainable_encoder
from umc_ray.tasks.generation import Generation

KIND = Generation(max_answer_bytes=60)


@pytest.fixture(scope="module", params=["t5", "llama"])
def config(request, tmp_path_factory):
    return text_encoder(write_writer(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture
def writer(config):
    return trainable_encoder(config, "texts", KIND.outputs)


def pairs(n, seed=0):
    """Two words, to be written the other way round."""
    rng = np.random.default_rng(seed)
    words = [rng.choice(PLAIN[:6], 2).tolist() for _ in range(n)]
    return [" ".join(each) for each in words], [" ".join(each[::-1]) for each in words]


def taught(writer, asked, answers):
    return writer.taught(
        [writer.prepare(text) for text in asked], torch.from_numpy(KIND.encode(answers))
    )


def test_the_loss_is_that_of_the_answer_alone_per_token(writer):
    asked, answers = ["good word1", "bad"], ["word2 word3 word4", "sad"]
    together = taught(writer, asked, answers)
    logits = writer.embed(writer.collate(together))
    targets = torch.zeros(2)
    losses_N = writer.losses(logits, together, targets, KIND)
    for each, loss in zip(together, losses_N, strict=True):
        alone = writer.losses(writer.embed(writer.collate([each])), [each], targets, KIND)
        torch.testing.assert_close(alone[0], loss, rtol=1e-4, atol=1e-5)
    logs = writer.embed(writer.collate(together[1:]))[0].log_softmax(-1)
    answer = together[1].answer
    expected = -sum(logs[t - len(answer), token] for t, token in enumerate(answer)) / len(answer)
    torch.testing.assert_close(losses_N[1], expected, rtol=1e-4, atol=1e-5)


def test_it_writes_what_the_model_finds_most_probable_and_says_how_probable(writer):
    """Against one forward pass over all of the text, without what generation keeps."""
    samples = taught(writer, ["good word1 word2 word3", "bad"], ["word1 word2", "sad"])
    for own, each in zip(writer.write(samples), samples, strict=True):
        log_prob, text = own[0]
        tokens = writer.tokenizer(text.rstrip("…"), add_special_tokens=False)["input_ids"]
        ended = tokens if text.endswith("…") else [*tokens, writer.end]
        known = writer.losses(
            *(lambda one: (writer.embed(writer.collate([one])), [one]))(
                type(each)(each.asked, tuple(ended))
            ),
            torch.zeros(1),
            KIND,
        )
        assert known.item() == pytest.approx(-log_prob, rel=1e-3)


def test_what_is_drawn_for_a_sample_does_not_depend_on_others(writer):
    samples = taught(writer, ["good word1", "bad poor word2 word3", "fine"], ["sad"] * 3)
    together = writer.write(samples)
    for own, each in zip(together, samples, strict=True):
        (alone,) = writer.write([each])
        assert [text for _, text in alone] == [text for _, text in own]
        assert len({text for _, text in own}) > 1


@pytest.mark.parametrize("how", ["full", "lora"])
def test_it_learns_to_write_and_is_the_same_after_it_was_stored(config, how):
    if how == "lora":
        pytest.importorskip("peft")
        if "llama" in config.path:
            pytest.skip("one architecture is enough: layers come in two stacks there")
    asked, answers = pairs(48)
    encoder = trainable_encoder(config, "texts", KIND.outputs)
    specialist = SpecialistConfig(kind=how, epochs=4, learning_rate=0.01)
    prepared = taught(encoder, asked, answers)
    tuning = TUNINGS[how](encoder, prepared, specialist)
    ones = np.ones(48, np.float32)
    found = FineTuning(
        tuning,
        KIND,
        KIND.encode(answers),
        ones,
        np.arange(48) % 2,
        [1] * 48,
        training_weights_N=ones,
        epochs=specialist.epochs,
        learning_rate=0.01,
        accumulate=1,
        seed=0,
        on_epoch=lambda *_: None,
    ).run()
    before = np.log(len(encoder.tokenizer))
    assert found.loss < 0.9 * before
    again = TUNINGS[how].load(
        trainable_encoder(config, "texts", KIND.outputs, encoder.longest),
        tuning.tensors(found.network),
        specialist,
        tuning.card,
    )
    new, _ = pairs(12, seed=1)
    outputs_NC = again.encode([again.prepare(text) for text in new])
    lists = unpack(torch.from_numpy(outputs_NC).float())
    written = [texts[0] for texts in texts_of(lists.bytes_KW)]
    assert lists.bytes_KW.shape[-1] == size_of(KIND.outputs) == 60
    found.network.eval()
    own = found.network.encoder
    assert [fitted(own.write([own.prepare(text)])[0][0][1], 60) for text in new] == written
