"""Generation in shards: nothing is lost or made twice when it breaks off."""

import io

import pytest
from PIL import Image

from umc_ray.cluster.stream import run_item
from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity import generate as module
from umc_ray.diversity.generate import GenerateWorker, generate, plan, read
from umc_ray.diversity.generators.generator import Exemplar, Generated, Request
from umc_ray.diversity.generators.registry import embed_with, version_of
from umc_ray.diversity.generators.transforms import Transforms
from umc_ray.errors import ConfigError, StageError
from umc_ray.storage import Storage

CONFIG = GeneratorConfig(kind="language_model", url="http://127.0.0.1:9/v1", model="none")
ENCODER = EncoderConfig(kind="pixels")
EXEMPLARS = (Exemplar(7, "a cat", "animal"), Exemplar(8, "a spoon", "thing"))


def request(**changes):
    values = {"gap": "g1", "label": "animal", "count": 40, "seed": 3, "exemplars": EXEMPLARS}
    return Request(labels=("animal", "thing"), **{**values, **changes})


class Counting:
    """Makes numbered texts; fails once, when so many shards are done."""

    def __init__(self, fails_after=None):
        self.calls, self.fails_after = [], fails_after

    def generate(self, request):
        if len(self.calls) == self.fails_after:
            self.fails_after = None
            raise StageError("killed")
        self.calls.append(request.seed)
        texts = [f"{request.seed} {i}" for i in range(request.count)]
        return [Generated(text, request.label, (7,), "again", request.seed) for text in texts]


def in_process(worker, items, compute, on_rows=None):
    """What `stream` does, without a cluster."""
    for item in items:
        if not worker.storage.exists(worker.output_key(item)):
            run_item(worker, item)


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "stream", in_process)
    return Storage(str(tmp_path))


def with_generator(monkeypatch, generator):
    monkeypatch.setattr(module, "load_generator", lambda *_: generator)
    return generator


def test_what_was_stored_before_a_kill_is_not_made_again(storage, monkeypatch):
    whole = with_generator(monkeypatch, Counting())
    expected = generate("lm", CONFIG, ENCODER, [request()], storage.within("whole"))
    broken = with_generator(monkeypatch, Counting(fails_after=2))
    with pytest.raises(StageError):
        generate("lm", CONFIG, ENCODER, [request()], storage.within("broken"))
    assert len(storage.within("broken").keys("generated/lm")) == 2
    assert generate("lm", CONFIG, ENCODER, [request()], storage.within("broken")) == expected
    assert broken.calls == whole.calls
    assert len(set(whole.calls)) == 3
    assert [len(made) for made in expected] == [40]
    assert len({each.payload for each in expected[0]}) == 40


def test_a_second_request_makes_only_what_is_new(storage, monkeypatch):
    generator = with_generator(monkeypatch, Counting())
    first = generate("lm", CONFIG, ENCODER, [request(count=5)], storage)
    both = generate("lm", CONFIG, ENCODER, [request(count=5), request(gap="g2", count=5)], storage)
    assert both[0] == first[0]
    assert len(generator.calls) == 2
    assert generate("lm", CONFIG, ENCODER, [], storage) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"gap": "g2"},
        {"label": "thing"},
        {"seed": 4},
        {"exemplars": EXEMPLARS[:1]},
        {"exemplars": (Exemplar(7, "a dog", "animal"), EXEMPLARS[1])},
        {"members": ("a horse",)},
    ],
    ids=str,
)
def test_a_shard_has_another_name_when_what_is_asked_changes(changes):
    def keys(asked, version="v1"):
        return {shard.key for shard in plan("lm", version, asked)}

    assert keys(request()) == keys(request())
    assert keys(request()).isdisjoint(keys(request(**changes)))
    assert keys(request()).isdisjoint(keys(request(), version="v2"))


def test_the_version_changes_with_the_settings_and_with_the_weights(tmp_path):
    (tmp_path / "part").mkdir()
    weights = tmp_path / "part" / "model.safetensors"
    weights.write_bytes(b"one")

    def version(**changes):
        return version_of(CONFIG.model_copy(update=changes), ENCODER)

    assert version() == version(timeout_s=7.0)
    assert version() != version(temperature=0.5)
    local = {"url": None, "model": None, "path": str(tmp_path)}
    assert version(**local) != version()
    copied = tmp_path.parent / "other"
    (copied / "part").mkdir(parents=True)
    (copied / "part" / "model.safetensors").write_bytes(b"two")
    assert version(**local) != version(**{**local, "path": str(copied)})
    with pytest.raises(ConfigError, match="not a folder"):
        version(**{**local, "path": str(tmp_path / "absent")})


@pytest.mark.ray
def test_a_cluster_makes_what_one_process_makes_and_only_once(ray_cluster, tmp_path):
    def png(*box):
        image = Image.new("RGB", (12, 12), "white")
        image.paste("black", box)
        sink = io.BytesIO()
        image.save(sink, "PNG")
        return sink.getvalue()

    config = GeneratorConfig(kind="transforms", transforms=["turn"])
    upright = tuple(Exemplar(i, png(2, i, 9, i + 1), "bar") for i in range(2, 10))
    turned = tuple(png(i, 2, i + 1, 9) for i in range(2, 10))
    asked = Request("g", "bar", ("bar",), upright, 6, 1, turned)
    storage, counted = Storage(str(tmp_path)), []
    encoder = EncoderConfig(kind="gradients")
    made, same = generate("turner", config, encoder, [asked, asked], storage, counted.append)
    (shard,) = plan("turner", version_of(config, encoder), asked)
    assert made == same == Transforms(config, embed_with(encoder)).generate(shard.request)
    assert {each.prompt for each in made} <= {"turn 90 degrees", "turn 270 degrees"}
    assert generate("turner", config, encoder, [asked], storage, counted.append) == [made]
    assert counted == [6]


def test_images_and_texts_are_read_as_they_were_made(storage, monkeypatch):
    made = [
        Generated("a line\nand ünother", "animal", (7, 8), "p", 1),
        Generated(b"\x89PNG\x00", "thing", (), "", 2),
    ]

    class Fixed:
        def generate(self, request):
            return made

    with_generator(monkeypatch, Fixed())
    (shard,) = plan("lm", "v", request(count=2))
    run_item(GenerateWorker(storage, CONFIG, ENCODER), shard)
    assert read(storage, shard) == made
