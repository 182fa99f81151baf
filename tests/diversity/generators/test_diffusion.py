"""Images by diffusion: what a network learns, and what a pipeline is asked."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators import diffusion as module
from umc_ray.diversity.generators.diffusion import Pipeline, TrainedDiffusion, diffusion
from umc_ray.diversity.generators.generator import Exemplar, Request
from umc_ray.errors import ConfigError
from umc_ray.ingest.pixels import decode_rgb

SIDE = 8
LABELS = ("dark", "light")


def png(shade, seed):
    rng = np.random.default_rng(seed)
    sink = io.BytesIO()
    pixels_HW3 = np.clip(rng.normal(shade, 10, (12, 9, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels_HW3).save(sink, "PNG")
    return sink.getvalue()


EXEMPLARS = tuple(Exemplar(i, png((60, 200)[i % 2], i), LABELS[i % 2]) for i in range(20))


def request(label="dark", count=6, seed=1, exemplars=EXEMPLARS):
    return Request("gap", label, LABELS, exemplars, count, seed)


def config(**changes):
    values = {"image_px": SIDE, "training_steps": 2, "denoising_steps": 4, **changes}
    return GeneratorConfig(kind="diffusion", **values)


class SmallNetwork(torch.nn.Module):
    """Has for each code and noise level a mean color, and tells the noise from the pixels."""

    def __init__(self, n_codes):
        super().__init__()
        self.mean = torch.nn.Embedding(n_codes, 3)
        self.mix = torch.nn.Sequential(
            torch.nn.Linear(8, 32), torch.nn.SiLU(), torch.nn.Linear(32, 3)
        )

    def forward(self, noisy_N3HW, levels_N, class_labels):
        pixels_NHW3 = noisy_N3HW.permute(0, 2, 3, 1)
        level_N2 = torch.stack([levels_N / 1000, (levels_N / 1000) ** 2], 1)
        known_N5 = torch.cat([self.mean(class_labels), level_N2], 1)
        spread = known_N5[:, None, None].expand(*pixels_NHW3.shape[:3], 5)
        noise_NHW3 = self.mix(torch.cat([pixels_NHW3, spread], 3))
        return SimpleNamespace(sample=noise_NHW3.permute(0, 3, 1, 2))


def shades(made):
    return [float(np.asarray(decode_rgb(each.payload)).mean()) for each in made]


def test_a_network_learns_how_the_images_of_each_label_look(monkeypatch):
    monkeypatch.setattr(module, "_network", lambda side, n_codes: SmallNetwork(n_codes))
    monkeypatch.setattr(module, "LEARNING_RATE", 1e-2)
    monkeypatch.setattr(module, "BATCH", 16)
    generator = TrainedDiffusion(config(training_steps=300, denoising_steps=10))
    dark, light = (generator.generate(request(label)) for label in LABELS)
    assert max(shades(dark)) + 60 < min(shades(light))
    assert {each.label for each in dark} == {"dark"}
    assert dark[0].exemplars == tuple(range(20))
    assert generator.generate(request()) == dark
    assert generator.generate(request(seed=2)) != dark


def test_the_network_of_diffusers_trains_and_draws_images_of_the_size(monkeypatch):
    monkeypatch.setattr(module, "CHANNELS", (8, 16))
    monkeypatch.setattr(module, "BATCH", 4)
    before = torch.random.get_rng_state()
    made, again = (diffusion(config()).generate(request(count=2)) for _ in range(2))
    assert made == again
    assert [decode_rgb(each.payload).size for each in made] == [(SIDE, SIDE)] * 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_learns_once_for_the_same_exemplars(monkeypatch):
    generator, learned = TrainedDiffusion(config()), []
    monkeypatch.setattr(generator, "_train", lambda request: learned.append(request))
    monkeypatch.setattr(generator, "_draw", lambda *_: [])
    asked = [request(), request("light", seed=4), request(exemplars=EXEMPLARS[:6])]
    for each in asked:
        generator.generate(each)
    assert learned == [asked[0], asked[2]]
    assert generator.generate(request(exemplars=EXEMPLARS[1:2])) == []


class FakePipelines:
    """Stands for diffusers: its pipeline darkens an image by its strength."""

    def __init__(self):
        self.loaded, self.asked = {}, []
        self.AutoPipelineForImage2Image = SimpleNamespace(from_pretrained=self.load)

    def load(self, folder, **options):
        self.loaded = {"folder": folder, **options}
        return self

    def to(self, device):
        return self

    def set_progress_bar_config(self, disable):
        assert disable

    def __call__(self, image, strength, **asked):
        self.asked.append(asked)
        return SimpleNamespace(images=[image.point(lambda value: int(value * (1 - strength)))])


def test_a_pipeline_changes_exemplars_of_the_label(monkeypatch, tmp_path):
    fake = FakePipelines()
    monkeypatch.setattr(module, "_diffusers", lambda: fake)
    generator = diffusion(config(path=str(tmp_path), strength=0.75, training_steps=2000))
    made = generator.generate(request("light", count=3))
    assert fake.loaded["use_safetensors"]
    assert fake.loaded["local_files_only"]
    assert [each["prompt"] for each in fake.asked] == ["an image of light"] * 3
    assert len({each["generator"].initial_seed() for each in fake.asked}) == 3
    assert len({each.exemplars for each in made}) == 3
    assert all(each.exemplars[0] % 2 for each in made)
    assert all(40 < shade < 60 for shade in shades(made))
    assert generator.generate(request("light", exemplars=EXEMPLARS[:1])) == []


def test_a_pipeline_needs_a_folder_without_code(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_diffusers", FakePipelines)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "pipeline.py").write_text("")
    with pytest.raises(ConfigError, match="code is not loaded"):
        Pipeline(config(path=str(tmp_path), training_steps=2000))
    with pytest.raises(ConfigError, match="absent is not a folder"):
        Pipeline(config(path="absent", training_steps=2000))
