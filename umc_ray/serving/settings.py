"""What the scoring endpoint accepts, from whom, and with which resources."""

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from umc_ray.config.section import Name, Section

AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]
"""A replica has another working folder."""


class ServingConfig(Section):
    """The arguments of the Serve application, as in the `args` of a Serve config file."""

    campaign: AbsolutePath = Field(
        description="the campaign's YAML file, at the same path on all nodes"
    )
    tokens: AbsolutePath | None = Field(
        None,
        description="file with a line `score TOKEN` or `admin TOKEN` per client; "
        "none: only clients on the same machine are answered",
    )
    replicas: int = Field(1, gt=0, description="processes, each with all encoders")
    max_replicas: int | None = Field(
        None, gt=0, description="grow up to so many when requests wait; none: fixed"
    )
    cpus: int = Field(1, gt=0, description="CPUs, and threads of torch, per replica")
    labels: dict[str, Name] = Field({}, description="nodes that serve, such as {umc: serving}")
    batch_size: int = Field(32, gt=0, description="samples that the model sees at once")
    poll_s: float = Field(2.0, gt=0, description="how often replicas look for a newer round")
    max_wait_s: float = Field(
        0.5,
        gt=0,
        description="requests that would wait longer for the model are refused with 503, "
        "as soon as one batch is computed and another waits",
    )
    max_samples: int = Field(256, gt=0, description="samples of one request")
    max_body_bytes: int = Field(16_000_000, gt=0, description="size of one request")
    max_held_bytes: int = Field(
        256_000_000, gt=0, description="size of all requests that a replica works on"
    )
    max_text_chars: int = Field(100_000, gt=0, description="longer texts are refused")
    max_image_pixels: int = Field(16_000_000, gt=0, description="larger images are refused")
    image_hosts: tuple[str, ...] = Field(
        (), description="hosts that image_url may name; none: images come in the request"
    )
    references: tuple[str, ...] = Field(
        (), description="folders or s3:// prefixes below which reference may name files"
    )
    max_fetch_bytes: int = Field(16_000_000, gt=0, description="size of what is referred to")
    fetch_timeout_s: float = Field(5.0, gt=0, description="time to fetch an image_url in")
    body_timeout_s: float = Field(30.0, gt=0, description="time to send a request's body in")

    @model_validator(mode="after")
    def _can_grow(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas {self.max_replicas} < replicas {self.replicas}")
        return self


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from the same machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
