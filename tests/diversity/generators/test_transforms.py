"""Transforms of images: what they do, and that the one is taken which a gap looks like."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from umc_ray.config.encoder import EncoderConfig
from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators.generator import Exemplar, Request
from umc_ray.diversity.generators.transforms import CHANGES, Transforms, background
from umc_ray.encoders.image import Gradients
from umc_ray.errors import ConfigError
from umc_ray.ingest.pixels import decode_rgb

ENCODER = Gradients(EncoderConfig(kind="gradients"))


def edges(payloads):
    return ENCODER.encode([ENCODER.prepare(each) for each in payloads]).astype(np.float32)


def pixels(payloads):
    arrays = [np.asarray(decode_rgb(each), np.float32).ravel() for each in payloads]
    return np.stack(arrays) / 255


def png(image):
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def digits():
    loaded = load_digits()
    gray_NHW = (255 - loaded.images * 255 / 16).astype(np.uint8)
    images = [Image.fromarray(each).convert("RGB").resize((24, 24)) for each in gray_NHW[:300]]
    return images, [str(each) for each in loaded.target[:300]]


def request(digits, change, seed=0, count=3, label="4"):
    """Upright exemplars, and members of a gap that were changed; they are other digits."""
    images, labels = digits
    exemplars = [
        Exemplar(row, png(image), label)
        for row, (image, label) in enumerate(zip(images[:40], labels[:40], strict=True))
    ]
    members = tuple(png(change(image, 0)) for image in images[200:230])
    names = tuple("0123456789")
    return Request("gap", label, names, tuple(exemplars), count, seed, members)


@pytest.mark.parametrize(
    ("embed", "wanted"),
    [
        (edges, "turn 90 degrees"),
        (edges, "scale x 0.6"),
        (pixels, "brightness x 0.5"),
    ],
)
def test_the_transform_is_taken_that_the_gap_looks_like(digits, embed, wanted):
    name, _, how = wanted.partition(" ")
    names = [name, "flip"]
    generator = Transforms(GeneratorConfig(kind="transforms", transforms=names), embed)
    asked = request(digits, CHANGES[name][how])
    made = generator.generate(asked)
    assert [each.prompt for each in made] == [wanted] * 3
    assert {each.label for each in made} == {"4"}
    by_id = {each.sample_id: each for each in asked.exemplars}
    for each in made:
        exemplar = by_id[each.exemplars[0]]
        assert exemplar.label == "4"
        expected = CHANGES[name][how](decode_rgb(exemplar.payload), 0)
        np.testing.assert_array_equal(decode_rgb(each.payload), expected)


def test_all_labels_of_a_style_are_matched_once(digits):
    calls = []

    def counted(payloads):
        calls.append(len(payloads))
        return edges(payloads)

    config = GeneratorConfig(kind="transforms", transforms=["flip"])
    generator = Transforms(config, counted)
    flip = CHANGES["flip"]["down"]
    first, second = (generator.generate(request(digits, flip, label=each)) for each in "41")
    assert {each.prompt for each in (*first, *second)} == {"flip down"}
    assert len(calls) == 4  # the members, the exemplars, and both flips
    assert generator.generate(request(digits, lambda image, _: image)) == []
    assert len(calls) == 8


def test_no_transform_is_taken_if_the_gap_looks_like_the_exemplars(digits):
    config = GeneratorConfig(kind="transforms", transforms=["turn", "flip"])
    generator = Transforms(config, edges)
    assert generator.generate(request(digits, lambda image, _: image)) == []


def test_without_members_or_exemplars_of_the_label_nothing_is_made(digits):
    generator = Transforms(GeneratorConfig(kind="transforms"), edges)
    asked = request(digits, CHANGES["turn"]["90 degrees"], label="unknown")
    assert generator.generate(asked) == []
    empty = Request("gap", "4", ("4",), asked.exemplars, 3, 0)
    assert generator.generate(empty) == []


def test_the_same_request_makes_the_same_samples_and_another_seed_others(digits):
    config = GeneratorConfig(kind="transforms", transforms=["noise"])
    generator = Transforms(config, pixels)
    noise = CHANGES["noise"]["25% of white"]
    first, again, other = (
        generator.generate(request(digits, noise, seed=seed, count=3)) for seed in (1, 1, 2)
    )
    assert len(first) == 3
    assert first == again
    assert {each.payload for each in first}.isdisjoint(each.payload for each in other)


@pytest.mark.parametrize("name", CHANGES)
def test_every_transform_changes_an_image_and_keeps_its_size(name):
    pixels_HW3 = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    image = Image.fromarray(pixels_HW3)
    for change in CHANGES[name].values():
        changed = change(image, 7)
        assert (changed.size, changed.mode) == ((30, 20), "RGB")
        assert not np.array_equal(np.asarray(changed), pixels_HW3)


def test_a_shift_moves_to_where_it_says_and_fills_with_the_background():
    image = Image.new("RGB", (20, 20), (200, 150, 100))
    image.putpixel((10, 10), (0, 0, 0))
    assert background(image) == (200, 150, 100)
    found = {}
    for how, change in CHANGES["shift"].items():
        down, right = np.argwhere(np.asarray(change(image, 0))[:, :, 0] < 100)[0]
        found[how] = (int(right) - 10, int(down) - 10)
    assert found == {"left": (-3, 0), "right": (3, 0), "up": (0, -3), "down": (0, 3)}


def test_texts_cannot_be_transformed():
    asked = Request("g", "a", ("a",), (Exemplar(1, "a text", "a"),), 1, 0, ("another",))
    with pytest.raises(ConfigError, match="the task has texts"):
        Transforms(GeneratorConfig(kind="transforms"), lambda _: np.zeros((1, 2))).generate(asked)
