"""Frozen models that turn samples into embeddings.

An encoder is loaded once per process and keeps its place there. Its hash covers the weights and
all that decides the numbers, so that features of another encoder are never taken for its own.

Suffixes: N samples, D embedding dimension, T tokens.
"""

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from umc_ray.config import EncoderConfig, fingerprint
from umc_ray.errors import ConfigError
from umc_ray.pipeline.image_features import GradientFeatures

Half = npt.NDArray[np.float16]

MIN_NORM = 1e-6

SPEED = {"path", "batch_size", "workers", "max_workers", "num_gpus"}
"""Settings that do not change the numbers; a path stands for the weights there."""


class Encoder(Protocol):
    """Turns texts, or decoded images, into embeddings."""

    column: str
    """The pool's column it reads: text or image."""

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Do the part of the work that needs no model, such as decoding an image."""
        ...

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Return the embeddings, N x D."""
        ...


class StaticText:
    """Mean of static token vectors: 7,000 short texts a second on one core."""

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        folder = _weights(config, "model.safetensors", "tokenizer.json")
        vectors_VD = load_file(folder / "model.safetensors")["embedding.weight"]
        self.vectors_VD = torch.from_numpy(vectors_VD.astype(np.float32))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(config.max_tokens)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Return the text as it is."""
        return payload

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Average the vectors of each text's tokens."""
        encodings = self.tokenizer.encode_batch_fast(list(prepared), add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in ids])[:-1]])
        mean_ND = torch.nn.functional.embedding_bag(
            torch.tensor([token for each in ids for token in each], dtype=torch.int64),
            self.vectors_VD,
            torch.from_numpy(offsets.astype(np.int64)),
            mode="mean",
        )
        return _unit(mean_ND)


class TransformersText:
    """Mean of the last hidden states of a transformers model, from a local folder."""

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        # Seconds to import, and only this encoder needs it.
        from transformers import AutoModel, AutoTokenizer

        folder = str(_weights(config, "config.json"))
        self.device = "cuda" if config.num_gpus else "cpu"
        self.max_tokens = config.max_tokens
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True)
        self.model = model.eval().to(self.device)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Return the text as it is."""
        return payload

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Any]) -> Half:
        """Run the model, autocast to bfloat16 on a GPU."""
        encoded = self.tokenizer(
            list(prepared),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        tokens = {name: _to(self.device, values) for name, values in encoded.items()}
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device == "cuda"):
            hidden_NTD = self.model(**tokens).last_hidden_state
        mask_NT1 = tokens["attention_mask"][:, :, None].to(hidden_NTD.dtype)
        return _unit((hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp_min(1))


class Gradients:
    """Histograms of oriented gradients: small images, no weights."""

    column = "image"

    def __init__(self, config: EncoderConfig) -> None:
        self.image_px = config.image_px
        self.device = "cuda" if config.num_gpus else "cpu"
        self.features = GradientFeatures().eval().to(self.device)

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to grey."""
        return decode(payload, "L", self.image_px)

    @torch.inference_mode()
    def encode(self, prepared: Sequence[Any]) -> Half:
        """Compute the features of a batch."""
        images_NHW = np.stack(prepared)
        images_N1HW = _to(self.device, torch.from_numpy(images_NHW))[:, None].float() / 255
        return _unit(self.features(images_N1HW))


class Pixels:
    """The image itself, small: the plainest baseline."""

    column = "image"

    def __init__(self, config: EncoderConfig) -> None:
        self.image_px = config.image_px

    def prepare(self, payload: Any) -> Any:  # noqa: ANN401 - str or bytes, by column
        """Decode to grey."""
        return decode(payload, "L", self.image_px)

    def encode(self, prepared: Sequence[Any]) -> Half:
        """Flatten the pixels."""
        images_NHW = np.stack(prepared)
        return _unit(torch.from_numpy(images_NHW).float().flatten(1) / 255)


ENCODERS: dict[str, type[StaticText | TransformersText | Gradients | Pixels]] = {
    "static_text": StaticText,
    "transformers": TransformersText,
    "gradients": Gradients,
    "pixels": Pixels,
}


def decode(payload: bytes, mode: str, image_px: int) -> npt.NDArray[np.uint8]:
    """Decode image bytes to a square array, H x W for mode L."""
    with Image.open(io.BytesIO(payload)) as image:
        small = image.convert(mode).resize((image_px, image_px), Image.Resampling.BILINEAR)
        return np.asarray(small)


def encoder_hash(config: EncoderConfig) -> str:
    """Return the name of the features that this encoder makes."""
    decides = config.model_dump(exclude=SPEED)
    return fingerprint({**decides, "weights": _weights_hash(config.path)})


@lru_cache(maxsize=4)
def load_encoder(config: EncoderConfig) -> Encoder:
    """Load an encoder, once per process.

    Raises:
        ConfigError: its weights are not where the campaign file says.
    """
    return ENCODERS[config.kind](config)


def _weights(config: EncoderConfig, *files: str) -> Path:
    folder = Path(config.path or "")
    for file in files:
        if not (folder / file).is_file():
            raise ConfigError(f"encoder {config.kind}: {file} not found in folder {folder}")
    return folder


@lru_cache(maxsize=16)
def _weights_hash(path: str | None) -> str | None:
    if path is None:
        return None
    if not Path(path).is_dir():
        raise ConfigError(f"encoder path {path} is not a folder")
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _to(device: str, tensor: torch.Tensor) -> torch.Tensor:
    """Copy to a GPU out of pinned memory, so that the host goes on meanwhile."""
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _unit(embeddings_ND: torch.Tensor) -> Half:
    """Scale to length one, so that distances between embeddings compare directions."""
    unit_ND = torch.nn.functional.normalize(embeddings_ND.float(), dim=1, eps=MIN_NORM)
    return np.asarray(unit_ND.cpu().numpy(), dtype=np.float16)
