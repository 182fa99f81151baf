"""Texts by a tiny model with random weights, and by a real endpoint on this machine."""

from collections.abc import Iterator

import httpx
import pytest
import torch
import transformers as hf
from fastapi import Response
from tenacity import wait_none
from tokenizers import Tokenizer

from tests.tiny import write_encoder
from tests.writer import Writer, serving
from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators import generator, language_model, prompts
from umc_ray.diversity.generators.generator import Exemplar
from umc_ray.errors import ConfigError, StageError

EXEMPLARS = tuple(Exemplar(i, f"good word{i}", "good" if i < 8 else "bad") for i in range(12))


def request(count=3, seed=5, **changes):
    values = {"gap": "g", "label": "good", "labels": ("good", "bad"), "exemplars": EXEMPLARS}
    return generator.Request(count=count, seed=seed, **{**values, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A causal model over the words of the tiny campaigns."""
    folder = tmp_path_factory.mktemp("writer")
    torch.manual_seed(0)
    write_encoder(folder / "words")
    words = Tokenizer.from_file(str(folder / "words" / "tokenizer.json"))
    words.add_special_tokens(["[END]"])
    hf.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="[END]").save_pretrained(folder)
    config = hf.LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=None,
        eos_token_id=words.token_to_id("[END]"),
    )
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def local(folder):
    config = GeneratorConfig(kind="language_model", path=str(folder), max_tokens=8)
    return language_model.language_model(config)


def test_a_local_model_makes_the_same_texts_for_the_same_seed(local):
    before = torch.random.get_rng_state()
    made = local.generate(request(count=10))
    assert len(made) > 5
    assert {each.label for each in made} == {"good"}
    assert all(len(each.payload.split()) <= 8 for each in made)
    assert local.generate(request(count=10)) == made
    assert local.generate(request(count=10, seed=6)) != made
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_model_with_a_chat_template_is_asked_as_it_has_learned(local, monkeypatch):
    prompt = prompts.Prompt("Write.", EXEMPLARS[:1], ("a text",))
    assert local._as_text(prompt) == "Write.\n- a text\n-"
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    monkeypatch.setattr(local.tokenizer, "chat_template", template)
    told = "<user>Write.<assistant>a text<user>Another one, about something else.<assistant>"
    assert local._as_text(prompt) == told


def test_weights_that_could_run_code_are_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    config = GeneratorConfig(kind="language_model", path=str(tmp_path))
    with pytest.raises(ConfigError, match="safetensors in folder"):
        language_model.language_model(config)


def asked(**changes):
    path = {"kind": "language_model", "path": "somewhere"}
    return prompts.prompts(request(count=4), GeneratorConfig(**path, **changes), seed=1)


def test_prompts_show_exemplars_of_the_label_and_each_shows_others():
    found = asked(instruction="reviews of films")
    shown = [{each.sample_id for each in prompt.exemplars} for prompt in found]
    assert all(len(ids) == 5 and max(ids) < 8 for ids in shown)
    assert len({frozenset(ids) for ids in shown}) > 1
    for prompt in found:
        assert 'reviews of films of the kind "good"' in prompt.text
        assert prompt.answered == tuple(each.payload for each in prompt.exemplars)
        assert prompt.text.endswith("\n- ".join(("", *prompt.answered)))


def test_a_paraphrase_is_of_one_exemplar():
    for prompt in asked(paraphrase=True):
        (exemplar,) = prompt.exemplars
        assert exemplar.payload in prompt.text
        assert "in other words" in prompt.text
        assert prompt.chat == [{"role": "user", "content": prompt.text}]


def test_without_exemplars_of_the_label_nothing_is_asked():
    config = GeneratorConfig(kind="language_model", path="somewhere")
    assert prompts.prompts(request(exemplars=EXEMPLARS[8:]), config, 0) == []


def test_images_cannot_be_put_into_other_words():
    image = (Exemplar(1, b"png", "good"),)
    config = GeneratorConfig(kind="language_model", path="somewhere")
    with pytest.raises(ConfigError, match="the task has images"):
        prompts.prompts(request(exemplars=image), config, 0)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("\n\n  What is it?  \nIt is", "What is it?"),
        ("- one\n- two", "one"),
        ("12. one", "one"),
        ("1984 was a year", "1984 was a year"),
        ('"quoted"', "quoted"),
        ("“quoted”", "quoted"),
        ('"', '"'),
        ("   ", ""),
    ],
)
def test_the_sample_is_the_first_line_of_an_answer(answer, text):
    assert prompts.clean(answer) == text


def test_answers_that_are_empty_or_repeat_an_exemplar_are_dropped():
    questions = [prompts.Prompt("p", EXEMPLARS[:2], ())] * 3
    made = prompts.kept(request(), questions, ["", "- good  word1", "a new one"])
    assert [(each.payload, each.exemplars) for each in made] == [("a new one", (0, 1))]


@pytest.fixture
def writer(monkeypatch) -> Iterator[Writer]:
    monkeypatch.setattr(language_model, "WAIT", wait_none())
    writer = Writer()
    with serving(writer.app) as url:
        writer.config = GeneratorConfig(
            kind="language_model", url=url, model="small", key_variable="TEST_KEY"
        )
        yield writer


def test_an_endpoint_is_asked_with_the_key_and_again_when_it_is_busy(writer, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "secret")
    writer.errors = [503, 429]
    made = language_model.language_model(writer.config).generate(request())
    assert [each.payload for each in made] == ["text 5", "text 6", "text 7"]
    assert set(writer.keys) == {"Bearer secret"}
    assert len(writer.keys) == 5
    body = min(writer.bodies, key=lambda body: body["seed"])
    assert body["model"] == "small"
    assert body["max_tokens"] == 64
    assert [each["role"] for each in body["messages"]] == ["user", *["assistant", "user"] * 5]
    assert made[0].prompt.startswith(body["messages"][0]["content"])


def test_an_endpoint_that_stays_busy_is_an_error_that_says_so(writer):
    writer.errors = [500] * 9
    with pytest.raises(StageError, match="gave no text in 5 attempts: status 500"):
        language_model.language_model(writer.config).generate(request(count=1))
    assert writer.keys == [None] * 5


def test_an_answer_that_is_no_json_is_asked_for_again(writer):
    page = Response("<html>busy</html>")
    model = language_model.language_model(writer.config)
    writer.errors = [page]
    assert [each.payload for each in model.generate(request(count=1))] == ["text 5"]
    writer.errors = [page] * 9
    with pytest.raises(StageError, match="in 5 attempts: an answer that is no JSON: '<html>busy"):
        model.generate(request(count=1))
    writer.errors = [Response('{"choices": []}')]
    with pytest.raises(ConfigError, match="does not speak OpenAI's protocol: List should have"):
        model.generate(request(count=1))
    assert len(writer.keys) == 2 + 5 + 1


def test_an_answer_without_end_is_given_up(writer, monkeypatch):
    monkeypatch.setattr(language_model, "MAX_ANSWER", 100)
    writer.text = "long {}".format("x" * 100).format
    with pytest.raises(ConfigError, match="an answer of more than 100 bytes"):
        language_model.language_model(writer.config).generate(request(count=1))
    clock = iter([0.0, *[99.0] * 9])
    monkeypatch.setattr(language_model, "MAX_ANSWER", 10_000)
    monkeypatch.setattr(language_model, "monotonic", lambda: next(clock))
    answer = language_model.language_model(writer.config)
    with answer._connected() as http, pytest.raises(httpx.ReadTimeout, match="whole answer in 60"):
        answer._post(http, {"seed": 1})


def test_an_endpoint_that_refuses_is_not_asked_again(writer, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "secret")
    writer.errors = [404]
    with pytest.raises(ConfigError, match="status 404: no such model; see url") as caught:
        language_model.language_model(writer.config).generate(request(count=1))
    assert len(writer.keys) == 1
    assert "secret" not in str(caught.value)
