"""Where an encoder's weights are: a local folder, or a model of the Hugging Face hub.

A hub's model is looked for offline first, so that a run needs the hub only once per machine.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umc_ray.config.encoder import HUB_ID, EncoderConfig
from umc_ray.errors import ConfigError

WEIGHTS = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Files that decide the numbers; no pickles, nothing that a reader would execute."""

POOLING_CARD = "1_Pooling/config.json"
"""Where sentence-transformers keeps how a model is pooled."""


def weights_folder(config: EncoderConfig, *files: str) -> Path:
    """Return the folder of an encoder's weights, filling it from the hub if it must.

    Args:
        config: its path is a folder or the id of a model, `owner/name` or `owner/name@revision`.
        files: what the folder has to hold, as names or globs.

    Raises:
        ConfigError: one of the files cannot be had.
    """
    folder = resolve_weights(config.path or "", files)
    missing = _missing(folder, files)
    if missing:
        raise ConfigError(f"encoder {config.kind}: {missing} not found in folder {folder}")
    return folder


def resolve_weights(path: str, files: tuple[str, ...] = ()) -> Path:
    """Return the folder that a path means: itself, the hub's cache, or a fresh download.

    Raises:
        ConfigError: it is the id of a model that is not in the cache, and the hub did not give it.
    """
    if Path(path).is_dir() or not HUB_ID.fullmatch(path):
        return Path(path)
    # Half a second to import, and only a hub's model needs it.
    from huggingface_hub import constants, snapshot_download

    model, _, revision = path.partition("@")

    def snapshot(offline: bool) -> Path:
        return Path(
            snapshot_download(
                model,
                revision=revision or None,
                allow_patterns=[*WEIGHTS, POOLING_CARD],
                local_files_only=offline,
            )
        )

    cached = _cached(snapshot, files)
    if cached is not None:
        return cached
    try:
        return snapshot(False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"encoder path {path}: no such folder beside the campaign file, not in the cache "
            f"{constants.HF_HUB_CACHE}, and the hub did not give it ({first_line(error)}). "
            f"Where the hub can be reached, run `{_download_command(model, revision)}`, put "
            f"the folder beside the campaign file, and write path: {_local_folder(model)}"
        ) from error


def weights_hash(path: str) -> str:
    """Return a hash of the files that decide the numbers, wherever they came from.

    Raises:
        ConfigError: the path is no folder, and no model that can be had.
    """
    folder = resolve_weights(path, ("*.safetensors",))
    if not folder.is_dir():
        raise ConfigError(f"encoder path {path} is not a folder")
    digest = hashlib.blake2b(digest_size=16)
    for pattern in sorted([*WEIGHTS, POOLING_CARD]):
        for file in sorted(folder.glob(pattern)):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def load_tokenizer(config: EncoderConfig, folder: Path) -> Any:  # noqa: ANN401 - any architecture
    """Load the tokenizer of a transformers model; one without padding pads with its last token.

    Raises:
        ConfigError: it cannot be loaded.
    """
    # Seconds to import, and only these encoders need it.
    from transformers import AutoTokenizer

    try:
        # Padding behind a text leaves the places of its tokens as they are.
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, padding_side="right"
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder {config.kind}: {folder}: {first_line(error)}") from error
    if tokenizer.pad_token is None:  # as in models that were made to write
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_transformers(config: EncoderConfig, folder: Path, writes: bool = False) -> Any:  # noqa: ANN401 - any architecture
    """Load a transformers model in float32, from safetensors only.

    With `writes`, it has the last layer with which it writes texts.

    Raises:
        ConfigError: it cannot be loaded, or some of its weights are not in the folder.
    """
    # Seconds to import, and only these encoders need it.
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # of a second
    try:
        architecture: Any = AutoModel
        if writes:
            settings = AutoConfig.from_pretrained(folder, local_files_only=True)
            is_pair = settings.is_encoder_decoder
            architecture = AutoModelForSeq2SeqLM if is_pair else AutoModelForCausalLM
        model, report = architecture.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype="float32",
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"encoder {config.kind}: {folder}: {first_line(error)}") from error
    # Poolers that sit on top are often not stored; where one is not, it is not used either.
    missing = sorted(name for name in report["missing_keys"] if "pooler." not in name)
    if missing:
        raise ConfigError(
            f"encoder {config.kind}: the weights in {folder} lack {len(missing)} tensors "
            f"of {type(model).__name__}, such as {missing[0]}"
        )
    return model.eval()


def first_line(error: Exception) -> str:
    """Return what an error says, without its advice."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _cached(snapshot: Callable[[bool], Path], files: tuple[str, ...]) -> Path | None:
    """Return the cached snapshot, unless it is absent or a download was broken off."""
    try:
        folder = snapshot(True)
    except (OSError, ValueError):
        return None
    return None if _missing(folder, (*files, *_shards(folder))) else folder


def _shards(folder: Path) -> set[str]:
    """Name the files over which large weights are spread."""
    index = folder / "model.safetensors.index.json"
    return set(json.loads(index.read_bytes())["weight_map"].values()) if index.exists() else set()


def _missing(folder: Path, files: tuple[str, ...]) -> str:
    return ", ".join(each for each in files if not any(folder.glob(each)))


def _local_folder(model: str) -> str:
    return f"models/{model.rpartition('/')[2]}"


def _download_command(model: str, revision: str) -> str:
    include = " ".join(f"--include '{pattern}'" for pattern in [*WEIGHTS, POOLING_CARD])
    at = f" --revision {revision}" if revision else ""
    return f"hf download {model}{at} {include} --local-dir {_local_folder(model)}"
