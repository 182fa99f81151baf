"""Encoders of text.

Suffixes: N samples, D embedding dimension, T tokens, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from umc_ray.config.task import EncoderConfig
from umc_ray.encoders.encoder import Half, to_device, unit_length, weights_folder


class StaticText:
    """Mean of static token vectors: 7,000 short texts a second on one core."""

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        folder = weights_folder(config, "model.safetensors", "tokenizer.json")
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
        return unit_length(mean_ND)


class TransformersText:
    """Mean of the last hidden states of a transformers model, from a local folder."""

    column = "text"

    def __init__(self, config: EncoderConfig) -> None:
        # Seconds to import, and only this encoder needs it.
        from transformers import AutoModel, AutoTokenizer

        folder = str(weights_folder(config, "config.json"))
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
        tokens = {name: to_device(self.device, values) for name, values in encoded.items()}
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device == "cuda"):
            hidden_NTD = self.model(**tokens).last_hidden_state
        mask_NT1 = tokens["attention_mask"][:, :, None].to(hidden_NTD.dtype)
        return unit_length((hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp_min(1))
