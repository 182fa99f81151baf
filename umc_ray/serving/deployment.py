"""The endpoint on Ray Serve: one deployment, so that a request makes one hop behind the proxy.

    serve deploy config.yaml

with `import_path: umc_ray.serving.deployment:build` and the settings as `args`.
"""

import os
from collections.abc import Sequence
from typing import Any

import torch
from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import LoggingConfig

from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError
from umc_ray.serving.access import Access
from umc_ray.serving.app import create_app
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.haproxy import HAPROXY
from umc_ray.serving.settings import ServingConfig, is_loopback
from umc_ray.serving.shedding import admissions

MAX_ONGOING = 512
"""Requests that a replica holds at once: it refuses by itself what would wait too long."""

MAX_QUEUED = 512
"""Requests that the proxy holds beyond that; more are answered with 503."""

REQUEST_TIMEOUT_S = 120


class Replica:
    """One process of the endpoint."""

    def __init__(self, settings: ServingConfig) -> None:
        torch.set_num_threads(1)  # the scorers have threads of their own
        self.endpoint = Endpoint(settings)
        admissions.append(self.endpoint.admit)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application around what is loaded."""
        return create_app(self.endpoint)


def build(settings: ServingConfig) -> Any:  # noqa: ANN401 - Ray is not typed
    """Build the Serve application of a campaign, for `serve deploy`.

    Raises:
        ConfigError: the campaign file or the tokens cannot be used, or there are no tokens behind
            HAProxy, where all clients seem to be on the same machine.
    """
    if settings.tokens is None and os.environ.get(HAPROXY) == "1":
        raise ConfigError(f"with {HAPROXY}=1, tokens are needed: HAProxy does not tell who asks")
    return _application(settings)


def _application(settings: ServingConfig) -> Any:  # noqa: ANN401 - Ray is not typed
    config = load_campaign(settings.campaign)
    Access.read(settings.tokens)
    replicas: dict[str, Any] = {"num_replicas": settings.replicas}
    if settings.max_replicas is not None:
        replicas = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=settings.replicas,
                max_replicas=settings.max_replicas,
                target_ongoing_requests=settings.batch_size,
            )
        }
    deployment = serve.deployment(
        name=config.name,
        max_ongoing_requests=MAX_ONGOING,
        max_queued_requests=MAX_QUEUED,
        ray_actor_options={
            "num_cpus": settings.cpus,
            "num_gpus": max(task.encoder.num_gpus for task in config.tasks.values()),
            "label_selector": settings.labels,
        },
        # The access log costs a twentieth of a loaded machine.
        logging_config=LoggingConfig(enable_access_log=False),
        **replicas,
    )
    return deployment(serve.ingress()(Replica)).bind(settings)


def start(settings: Sequence[ServingConfig], host: str, port: int) -> list[str]:
    """Serve campaigns on the connected cluster; returns their routes.

    One campaign has the route /, several have their names.

    Raises:
        ConfigError: the address can be reached from elsewhere, and there are no tokens.
    """
    for each in settings:
        if each.tokens is None and not is_loopback(host):
            raise ConfigError(f"{host} can be reached from other machines: tokens are needed")
    serve.start(
        http_options={"host": host, "port": port, "request_timeout_s": REQUEST_TIMEOUT_S},
        logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
    )
    names = [load_campaign(each.campaign).name for each in settings]
    routes = ["/"] if len(names) == 1 else [f"/{name}" for name in names]
    for each, name, route in zip(settings, names, routes, strict=True):
        serve.run(_application(each), name=name, route_prefix=route)
    return routes
