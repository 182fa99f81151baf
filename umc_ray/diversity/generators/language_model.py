"""Texts by a language model: in a folder of this machine, or behind an endpoint.

Suffixes: N prompts, T tokens.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pydantic
import torch
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from umc_ray.config.generator import GeneratorConfig
from umc_ray.diversity.generators.generator import Generated, Request
from umc_ray.diversity.generators.prompts import Prompt, kept, prompts
from umc_ray.encoders.weights import first_line
from umc_ray.errors import ConfigError, StageError

TOP_P = 0.95
"""Tokens that are less probable than all that make up this much are not drawn.

Source: Holtzman et al. 2020, The Curious Case of Neural Text Degeneration."""

BATCH = 8
"""Prompts that a local model completes at once."""

CONNECTIONS = 4
ATTEMPTS = 5
WAIT = wait_random_exponential(max=20)  # seconds
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
"""Statuses after which a request is worth another try."""

MAX_ANSWER = 1 << 20
"""Bytes of an answer of an endpoint."""

MAX_ERROR = 200
"""Letters of what an endpoint says about an error."""


class LocalModel:
    """A causal language model of transformers, from safetensors."""

    def __init__(self, config: GeneratorConfig) -> None:
        self.config, self.device = config, "cuda" if config.num_gpus else "cpu"
        self.tokenizer, model = _load(Path(config.path or ""), self.device)
        self.model = model.eval().to(self.device)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def generate(self, request: Request) -> Sequence[Generated]:
        """Draw a text per prompt; the random numbers of other code are left as they are."""
        asked = prompts(request, self.config, request.seed)
        answers: list[str] = []
        devices = [torch.cuda.current_device()] if self.device == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(request.seed)
            for start in range(0, len(asked), BATCH):
                answers += self._complete(asked[start : start + BATCH])
        return kept(request, asked, answers)

    def _complete(self, asked_N: Sequence[Prompt]) -> list[str]:
        inputs = self.tokenizer(
            [self._as_text(each) for each in asked_N],
            return_tensors="pt",
            padding=True,
            add_special_tokens=self.tokenizer.chat_template is None,
        ).to(self.device)
        found_NT = self.model.generate(
            **inputs,
            do_sample=True,
            temperature=self.config.temperature,
            top_p=TOP_P,
            max_new_tokens=self.config.max_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        new_NT = found_NT[:, inputs["input_ids"].shape[1] :]
        answers: list[str] = self.tokenizer.batch_decode(new_NT, skip_special_tokens=True)
        return answers

    def _as_text(self, prompt: Prompt) -> str:
        """Put a prompt as the model has learned to be asked, or else as a list to go on with."""
        if self.tokenizer.chat_template is None:
            return f"{prompt.text}\n-"
        return str(
            self.tokenizer.apply_chat_template(
                prompt.chat, tokenize=False, add_generation_prompt=True
            )
        )


def _load(folder: Path, device: str) -> tuple[Any, Any]:
    """Return the tokenizer and the model of a folder.

    Raises:
        ConfigError: they are not there, or not as safetensors.
    """
    # Seconds to import, and only this generator needs them.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not any(folder.glob("*.safetensors")):
        raise ConfigError(
            f"generator language_model: no *.safetensors in folder {folder}; "
            "weights in other formats are not read, since some of them run code"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        return (
            AutoTokenizer.from_pretrained(folder, padding_side="left", **local),
            AutoModelForCausalLM.from_pretrained(
                folder,
                use_safetensors=True,
                dtype="bfloat16" if device == "cuda" else "float32",
                **local,
            ),
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"generator language_model: {folder}: {first_line(error)}") from error


class _Message(pydantic.BaseModel):
    content: str | None


class _Choice(pydantic.BaseModel):
    message: _Message


class _Completion(pydantic.BaseModel):
    choices: list[_Choice] = pydantic.Field(min_length=1)


class _Busy(Exception):
    """The endpoint asks for another try."""


class Endpoint:
    """A language model behind `url`/chat/completions; its key is in an environment variable."""

    def __init__(self, config: GeneratorConfig) -> None:
        self.config = config

    def generate(self, request: Request) -> Sequence[Generated]:
        """Ask for a text per prompt, a few at a time.

        The seeds are passed on, but whether an endpoint heeds them is its own affair: a shard is
        stored, and so never asked for again.
        """
        asked = prompts(request, self.config, request.seed)
        with self._connected() as http, ThreadPoolExecutor(max_workers=CONNECTIONS) as pool:
            bodies = [self._body(each, request.seed + i) for i, each in enumerate(asked)]
            answers = list(pool.map(lambda body: self._answer(http, body), bodies))
        return kept(request, asked, answers)

    def _connected(self) -> httpx.Client:
        key = os.environ.get(self.config.key_variable)
        return httpx.Client(
            base_url=(self.config.url or "").rstrip("/"),
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=self.config.timeout_s,
        )

    def _body(self, prompt: Prompt, seed: int) -> dict[str, object]:
        return {
            "model": self.config.model,
            "messages": prompt.chat,
            "temperature": self.config.temperature,
            "top_p": TOP_P,
            "max_tokens": self.config.max_tokens,
            "seed": seed,
        }

    def _answer(self, http: httpx.Client, body: Mapping[str, object]) -> str:
        retrying = Retrying(
            retry=retry_if_exception_type((_Busy, httpx.TransportError)),
            stop=stop_after_attempt(ATTEMPTS),
            wait=WAIT,
            reraise=True,
        )
        try:
            return retrying(self._ask, http, body)
        except (_Busy, httpx.TransportError) as error:
            raise StageError(
                f"{self.config.url} gave no text in {ATTEMPTS} attempts: {error}; "
                "what it gave before is kept: run again when it responds"
            ) from error

    def _ask(self, http: httpx.Client, body: Mapping[str, object]) -> str:
        response = self._post(http, body)
        if response.status_code in BUSY:
            raise _Busy(f"status {response.status_code}")
        if not response.is_success:
            raise ConfigError(
                f"{self.config.url}: status {response.status_code}: "
                f"{response.text[:MAX_ERROR]}; see url, model and key_variable of the generator"
            )
        try:
            completion = _Completion.model_validate_json(response.content)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            if problem["type"] == "json_invalid":  # cut off, or a proxy's page
                raise _Busy(f"an answer that is no JSON: {response.text[:MAX_ERROR]!r}") from error
            raise ConfigError(
                f"{self.config.url} does not speak OpenAI's protocol: {problem['msg']}"
            ) from error
        return completion.choices[0].message.content or ""

    def _post(self, http: httpx.Client, body: Mapping[str, object]) -> httpx.Response:
        """Post a question; httpx's own timeout is that of each read, not of the whole answer."""
        until, content = monotonic() + self.config.timeout_s, b""
        with http.stream("POST", "/chat/completions", json=body) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if monotonic() > until:
                    raise httpx.ReadTimeout(f"no whole answer in {self.config.timeout_s:g} s")
                if len(content) > MAX_ANSWER:
                    raise ConfigError(
                        f"{self.config.url}: an answer of more than {MAX_ANSWER:,} bytes; "
                        "see max_tokens of the generator"
                    )
        return httpx.Response(response.status_code, content=content)


def language_model(config: GeneratorConfig) -> LocalModel | Endpoint:
    """Load the model of a folder, or connect to an endpoint."""
    return LocalModel(config) if config.url is None else Endpoint(config)
