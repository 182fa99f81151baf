"""The settings of the scoring endpoint: access, limits and resources."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from umc_ray.config.section import Name, Section
from umc_ray.serving.messages import MOST_SAMPLES

AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
"""Made absolute when read: a replica has another working directory."""


class ServingConfig(Section):
    """The arguments of the Serve application: `args` in a Serve config file."""

    campaign: AbsolutePath = Field(
        description="the campaign's YAML file, at the same path on all nodes"
    )
    tokens: AbsolutePath | None = Field(
        None,
        description="file with one `score TOKEN` or `admin TOKEN` per line; "
        "none: only clients on the same machine are allowed",
    )
    replicas: int = Field(1, gt=0, description="processes; each loads all encoders")
    max_replicas: int | None = Field(
        None, gt=0, description="upper limit for autoscaling; none: a fixed number"
    )
    cpus: int = Field(1, gt=0, description="CPUs and encoder threads per replica")
    labels: dict[str, Name] = Field(
        {}, description="labels of the nodes to run on, such as {umc: serving}"
    )
    batch_size: int = Field(32, gt=0, description="samples per batch")
    poll_s: float = Field(2.0, gt=0, description="seconds between checks for a new round")
    max_wait_s: float = Field(
        0.5,
        gt=0,
        description="refuse requests that would wait longer for the model, with 503, "
        "once one batch is running and another is queued",
    )
    under_overload: Literal["refuse", "heads"] = Field(
        "refuse",
        description="heads: while requests would wait for longer than half of max_wait_s, score "
        "without fine-tuned specialists, and say so in the answer",
    )
    max_samples: int = Field(256, gt=0, le=MOST_SAMPLES, description="samples per request")
    max_body_bytes: int = Field(16_000_000, gt=0, description="size of one request")
    max_held_bytes: int = Field(
        256_000_000, gt=0, description="size of all requests in progress in a replica"
    )
    max_text_chars: int = Field(100_000, gt=0, description="longer texts are refused")
    max_image_pixels: int = Field(
        16_000_000,
        gt=0,
        description="larger images are refused, and requests with eight times as many in all",
    )
    image_hosts: tuple[str, ...] = Field(
        (), description="hosts allowed in image_url; none: images must be in the request"
    )
    references: tuple[str, ...] = Field(
        (), description="folders or s3:// prefixes allowed in reference"
    )
    max_fetch_bytes: int = Field(16_000_000, gt=0, description="size of an image_url or reference")
    fetch_timeout_s: float = Field(5.0, gt=0, description="time limit for fetching an image_url")
    body_timeout_s: float = Field(30.0, gt=0, description="time limit for receiving a request body")

    @model_validator(mode="after")
    def _check_max_replicas(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas {self.max_replicas} < replicas {self.replicas}")
        return self


def is_loopback(host: str) -> bool:
    """Return whether only the same machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
