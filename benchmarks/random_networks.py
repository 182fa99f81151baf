"""Networks of the usual shapes with random weights: for speed, on a machine without a network."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo.models import EFFICIENTNET_CONFIG
from umc_ray.encoders.efficientnet_lite import EfficientNetLite0

WORDS = 30_000
MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
}
VIT_B: dict[str, Any] = {}
"""What transformers takes by default."""
TINY: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
}


def text_network(folder: Path, tiny: bool) -> EncoderConfig:
    """Save a network of MiniLM's shape, with a tokenizer that knows `word0`, `word1`, ..."""
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast  # seconds to import

    torch.manual_seed(0)
    names = ["[PAD]", "[UNK]", *(f"word{i}" for i in range(WORDS))]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words,
        pad_token="[PAD]",
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)
    config = BertConfig(vocab_size=len(names), **(TINY if tiny else MINILM))
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return EncoderConfig(kind="transformers", path=str(folder), max_tokens=64)


def vit(folder: Path, tiny: bool) -> EncoderConfig:
    """Save a ViT-B/16 for images of 224 pixels, or a tiny one for 32."""
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel  # seconds to import

    torch.manual_seed(0)
    px = 32 if tiny else 224
    config = ViTConfig(image_size=px, patch_size=16, **(TINY if tiny else VIT_B))
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    processor: Any = ViTImageProcessorPil(size={"height": px, "width": px})
    processor.save_pretrained(folder)
    return EncoderConfig(kind="transformers_image", path=str(folder))


def efficientnet(folder: Path, tiny: bool) -> EncoderConfig:
    """Save an EfficientNet-Lite0, for images of 224 pixels or of 32."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(EfficientNetLite0().state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(EFFICIENTNET_CONFIG))
    px = 32 if tiny else None
    return EncoderConfig(kind="efficientnet_lite", path=str(folder), image_px=px)


def texts(count: int) -> list[str]:
    """Return texts of 4 to 40 words."""
    rng = np.random.default_rng(0)
    lengths_N = rng.integers(4, 41, count)
    return [" ".join(f"word{i}" for i in rng.integers(0, WORDS, n)) for n in lengths_N]


def images(count: int) -> list[bytes]:
    """Return smooth pictures of 256 pixels a side, as JPEG."""
    rng = np.random.default_rng(0)
    return [_jpeg(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)) for _ in range(count)]


def _jpeg(coarse_HWC: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(coarse_HWC).resize((256, 256), Image.Resampling.BICUBIC)
    picture.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
