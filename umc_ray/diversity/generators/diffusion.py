"""Images by diffusion: a small model that learns the labeled images, or a pretrained pipeline.

Suffixes: N images, B images of a batch, H and W pixels.
"""

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators.generator import Exemplar, Generated, Request, as_image
from umc_ray.encoders.weights import first_line
from umc_ray.errors import ConfigError
from umc_ray.ingest.pixels import decode_rgb
from umc_ray.methods.identity import fingerprint

INSTALL = "pip install --editable '.[diffusion]'"
CHANNELS = (32, 64, 64)
NOISE_LEVELS = 1000
BATCH = 64
LEARNING_RATE = 1e-3
AVERAGED = 0.995  # of the weights of a step stays in their running mean
UNLABELED = 0.1  # share of a batch that is learned without its label
GUIDANCE = 2.0  # how much further than without a label the noise is followed


class TrainedDiffusion:
    """A network that has learned to take noise off the labeled images, label by label.

    Source: Song et al. 2021, Denoising Diffusion Implicit Models; Ho and Salimans 2022,
    Classifier-Free Diffusion Guidance.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        self.config, self.device = config, "cuda" if config.num_gpus else "cpu"
        self._learned: tuple[str, nn.Module] | None = None

    def generate(self, request: Request) -> Sequence[Generated]:
        """Draw images of the label; the network learns anew when it is given other exemplars."""
        if not request.own:
            return []
        net = self._learn(request)
        noise = torch.Generator().manual_seed(request.seed)
        drawn_NHW3 = self._draw(net, request, noise)
        ids = tuple(each.sample_id for each in request.exemplars)
        prompt = f"{request.label} of {len(request.labels)} labels"
        return [
            Generated(_png(Image.fromarray(each)), request.label, ids, prompt, request.seed)
            for each in drawn_NHW3
        ]

    def _learn(self, request: Request) -> nn.Module:
        name = fingerprint([[each.sample_id, each.label] for each in request.exemplars])
        if self._learned is None or self._learned[0] != name:
            self._learned = (name, self._train(request))
        return self._learned[1]

    def _train(self, request: Request) -> nn.Module:
        """Learn to tell the noise in images; returns the network with averaged weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = _network(self.config.image_px, len(request.labels) + 1).to(self.device)
        images_N3HW = _pixels(request.exemplars, self.config.image_px)
        codes_N = torch.tensor([request.labels.index(each.label) for each in request.exemplars])
        average = torch.optim.swa_utils.AveragedModel(net, avg_fn=_running_mean)
        optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE)
        draws = torch.Generator().manual_seed(0)
        for _ in range(self.config.training_steps):
            rows_B = torch.randint(len(images_N3HW), (BATCH,), generator=draws)
            codes_B = codes_N[rows_B]
            codes_B[torch.rand(BATCH, generator=draws) < UNLABELED] = len(request.labels)
            loss = self._loss(net, images_N3HW[rows_B], codes_B, draws)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            average.update_parameters(net)
        learned: nn.Module = average.module
        return learned.eval()

    def _loss(
        self,
        net: nn.Module,
        images_B3HW: Tensor,
        codes_B: Tensor,
        draws: torch.Generator,
    ) -> Tensor:
        noise_B3HW = torch.randn(images_B3HW.shape, generator=draws)
        levels_B = torch.randint(NOISE_LEVELS, (len(images_B3HW),), generator=draws)
        noisy_B3HW = _scheduler().add_noise(images_B3HW, noise_B3HW, levels_B)
        inputs = (each.to(self.device) for each in (noisy_B3HW, levels_B, codes_B))
        return torch.nn.functional.mse_loss(_noise(net, *inputs), noise_B3HW.to(self.device))

    @torch.inference_mode()
    def _draw(
        self, net: nn.Module, request: Request, noise: torch.Generator
    ) -> npt.NDArray[np.uint8]:
        """Take the noise off, step by step; returns N x H x W x 3."""
        side, scheduler = self.config.image_px, _scheduler()
        scheduler.set_timesteps(self.config.denoising_steps)
        image_N3HW = torch.randn((request.count, 3, side, side), generator=noise).to(self.device)
        own_N = torch.full((request.count,), request.labels.index(request.label)).to(self.device)
        for level in scheduler.timesteps:
            levels_N = torch.full_like(own_N, int(level))
            plain = _noise(net, image_N3HW, levels_N, torch.full_like(own_N, len(request.labels)))
            labeled = _noise(net, image_N3HW, levels_N, own_N)
            guided = plain + GUIDANCE * (labeled - plain)
            image_N3HW = scheduler.step(guided, level, image_N3HW).prev_sample
        image_NHW3 = image_N3HW.clamp(-1, 1).permute(0, 2, 3, 1)
        return ((image_NHW3 + 1) * 127.5).round().byte().cpu().numpy()


class Pipeline:
    """A pretrained pipeline that changes exemplars, guided by the name of the label.

    Source: Meng et al. 2022, SDEdit: Guided Image Synthesis and Editing with Stochastic
    Differential Equations.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        diffusers = _diffusers()
        self.config, self.device = config, "cuda" if config.num_gpus else "cpu"
        folder = Path(config.path or "")
        if not folder.is_dir():
            raise ConfigError(f"generator path {folder} is not a folder")
        if code := next(folder.rglob("*.py"), None):
            raise ConfigError(f"generator path {folder} holds {code.name}: code is not loaded")
        try:
            self.pipeline: Any = diffusers.AutoPipelineForImage2Image.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                torch_dtype=torch.bfloat16 if config.num_gpus else torch.float32,
            ).to(self.device)
        except (OSError, ValueError) as error:
            raise ConfigError(f"generator diffusion: {folder}: {first_line(error)}") from error
        self.pipeline.set_progress_bar_config(disable=True)

    def generate(self, request: Request) -> Sequence[Generated]:
        """Change exemplars of the label, each in turn and as often as it takes."""
        made = []
        for i in range(request.count if request.own else 0):
            exemplar = request.own[(request.seed + i) % len(request.own)]
            prompt = f"an image of {request.label}"
            image = self._change(exemplar, prompt, request.seed + i)
            ids = (exemplar.sample_id,)
            made.append(Generated(_png(image), request.label, ids, prompt, request.seed + i))
        return made

    def _change(self, exemplar: Exemplar, prompt: str, seed: int) -> Image.Image:
        changed = self.pipeline(
            prompt=prompt,
            image=_square(exemplar, self.config.image_px),
            strength=self.config.strength,
            num_inference_steps=self.config.denoising_steps,
            generator=torch.Generator().manual_seed(seed),
        )
        image: Image.Image = changed.images[0].convert("RGB")
        return image


def diffusion(config: GeneratorConfig) -> TrainedDiffusion | Pipeline:
    """Load a pretrained pipeline, or return what learns when it sees its first exemplars."""
    return TrainedDiffusion(config) if config.path is None else Pipeline(config)


def _diffusers() -> Any:  # noqa: ANN401 - a module
    try:
        import diffusers  # an extra, and seconds to import
    except ImportError as error:
        raise ConfigError(f"generator kind diffusion needs {INSTALL}") from error
    return diffusers


def _running_mean(mean: Tensor, new: Tensor, steps: int | Tensor) -> Tensor:
    """Forget the first steps soon: their weights are almost random."""
    kept = min(AVERAGED, (1 + float(steps)) / (10 + float(steps)))
    return kept * mean + (1 - kept) * new


def _network(side: int, n_codes: int) -> nn.Module:
    net: nn.Module = _diffusers().UNet2DModel(
        sample_size=side,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=CHANNELS,
        down_block_types=("DownBlock2D",) * len(CHANNELS),
        up_block_types=("UpBlock2D",) * len(CHANNELS),
        norm_num_groups=8,
        num_class_embeds=n_codes,
    )
    return net


@lru_cache(maxsize=1)
def _scheduler() -> Any:  # noqa: ANN401 - a scheduler of diffusers
    return _diffusers().DDIMScheduler(NOISE_LEVELS, beta_schedule="squaredcos_cap_v2")


def _noise(net: nn.Module, noisy_N3HW: Tensor, levels_N: Tensor, codes_N: Tensor) -> Tensor:
    predicted_N3HW: Tensor = net(noisy_N3HW, levels_N, class_labels=codes_N).sample
    return predicted_N3HW


def _square(exemplar: Exemplar, side: int) -> Image.Image:
    return decode_rgb(as_image(exemplar.payload)).resize((side, side), Image.Resampling.BILINEAR)


def _pixels(exemplars: Sequence[Exemplar], side: int) -> Tensor:
    """Return images N x 3 x H x W in -1..1."""
    images_NHW3 = np.stack([np.asarray(_square(each, side)) for each in exemplars])
    return torch.from_numpy(images_NHW3).permute(0, 3, 1, 2).float() / 127.5 - 1


def _png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()
