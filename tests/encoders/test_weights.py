import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from umc_ray.config.encoder import EncoderConfig
from umc_ray.encoders.weights import WEIGHTS, resolve_weights, weights_folder, weights_hash
from umc_ray.errors import ConfigError

COMMIT = "c" * 40
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"tensors",
    "pytorch_model.bin": b"a pickle",
    "README.md": b"a card",
    "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
}
INFO = {"id": "owner/name", "sha": COMMIT}
TREE = [
    {"type": "file", "path": name, "size": len(data), "oid": COMMIT} for name, data in FILES.items()
]


def write(folder, files=FILES):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and no way to the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fill(cache, files=FILES, revision="main"):
    """Lay a model into the cache as a download would."""
    model = cache / "models--owner--name"
    write(model / "refs", {revision: COMMIT.encode()})
    return write(model / "snapshots" / COMMIT, files)


class Hub(BaseHTTPRequestHandler):
    """A hub that has one model; the server's log names what was asked."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path.startswith("/owner/name/resolve/"):
            self.answer(FILES[path.split("/", 5)[5]])
        elif path.startswith("/api/models/owner/name"):
            self.answer(json.dumps(TREE if "/tree/" in path else INFO).encode())
        else:
            self.answer(b"no such model", 404)

    def answer(self, data, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(cache, monkeypatch):
    """Let the hub be a server on this machine; what it was asked."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        files = here + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", here)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        yield server.asked
        server.shutdown()


def test_a_folder_is_itself(tmp_path):
    assert resolve_weights(str(tmp_path)) == tmp_path


def test_a_model_in_the_cache_needs_no_hub(cache):
    snapshot = fill(cache)
    assert resolve_weights("owner/name", ("config.json", "*.safetensors")) == snapshot


def test_a_revision_is_found_by_its_name(cache):
    snapshot = fill(cache, revision="v2")
    assert resolve_weights("owner/name@v2") == snapshot
    with pytest.raises(ConfigError, match="owner/name@v1"):
        resolve_weights("owner/name@v1")


def test_what_to_do_without_a_hub_is_said(cache):
    with pytest.raises(ConfigError) as failed:
        resolve_weights("owner/name")
    said = str(failed.value)
    assert "encoder path owner/name: no such folder beside the campaign file" in said
    assert str(cache) in said
    assert "`hf download owner/name --include '*.safetensors'" in said
    assert said.endswith("write path: models/name")
    assert "\n" not in said


def test_a_model_comes_from_the_hub_once(hub):
    folder = resolve_weights("owner/name", ("*.safetensors",))
    got = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert got == set(FILES) - {"pytorch_model.bin", "README.md"}
    assert (folder / "model.safetensors").read_bytes() == b"tensors"
    hub.clear()
    assert resolve_weights("owner/name", ("*.safetensors",)) == folder
    assert hub == []


@pytest.mark.parametrize(
    "left",
    [
        {"config.json": b"{}"},
        {
            "model-1.safetensors": b"",
            "model.safetensors.index.json": b'{"weight_map": {"a": "model-2.safetensors"}}',
        },
    ],
    ids=["no weights", "a shard is missing"],
)
def test_a_broken_off_download_goes_on(cache, hub, left):
    snapshot = fill(cache, left)
    assert resolve_weights("owner/name", ("*.safetensors",)) == snapshot
    assert (snapshot / "model.safetensors").read_bytes() == b"tensors"


def test_a_model_that_the_hub_has_not_is_named(hub):
    with pytest.raises(ConfigError, match=re.escape("encoder path owner/other: ")):
        resolve_weights("owner/other")


def test_a_hash_is_the_same_wherever_the_weights_are(cache, tmp_path):
    fill(cache)
    local = write(tmp_path / "local", {"LICENSE": b"terms", **FILES})
    assert weights_hash("owner/name") == weights_hash(str(local))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "1_Pooling/config.json"])
def test_a_hash_covers_what_decides_the_numbers(tmp_path, name):
    before = weights_hash(str(write(tmp_path)))
    (tmp_path / name).write_bytes(b"{} ")
    assert weights_hash(str(tmp_path)) != before


def test_files_that_lack_are_all_named(tmp_path):
    write(tmp_path, {"config.json": b"{}"})
    config = EncoderConfig(kind="timm", path=str(tmp_path))
    with pytest.raises(ConfigError, match=f"timm: a.json, \\*.bin not found in folder {tmp_path}"):
        weights_folder(config, "config.json", "a.json", "*.bin")


def test_nothing_that_unpickles_is_taken():
    assert not any(Path(f"x{end}").match(each) for each in WEIGHTS for end in (".bin", ".pth"))
