"""The endpoint on Ray Serve: a single deployment, so that a request makes one hop after the proxy.

    serve deploy config.yaml

with `import_path: umc_ray.serving.deployment:build`, the settings as `args`, and the environment
`FRONT` of `haproxy.py` on all nodes.
"""

import os
from collections.abc import Sequence
from typing import Any

import torch
from fastapi import FastAPI
from ray import serve
from ray._common.tls_utils import add_port_to_grpc_server
from ray.serve._private import replica
from ray.serve.config import AutoscalingConfig, ControllerOptions
from ray.serve.context import _get_global_client
from ray.serve.schema import LoggingConfig

from umc_ray.campaign.frozen import check_frozen
from umc_ray.config.campaign import CampaignConfig
from umc_ray.config.loading import load_campaign
from umc_ray.errors import ConfigError
from umc_ray.serving.access import Access
from umc_ray.serving.app import create_app
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.haproxy import FRONT, HAPROXY, refuse_without_replica
from umc_ray.serving.ports import authority, listen, taken
from umc_ray.serving.settings import ServingConfig, is_loopback
from umc_ray.serving.shedding import admission_checks
from umc_ray.storage import Storage

MAX_ONGOING = 512
"""Requests in progress per replica; the replica itself refuses those that would wait too long."""

MAX_QUEUED = 512
"""Requests that the proxy queues beyond that; it answers more with 503."""

REQUEST_TIMEOUT_S = 120


class Replica:
    """One process of the endpoint."""

    def __init__(self, settings: ServingConfig) -> None:
        torch.set_num_threads(1)  # the scorers have their own threads
        _keep_calls_on_loopback()
        self.endpoint = Endpoint(settings)
        admission_checks.append(self.endpoint.admit)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the application of the loaded endpoint."""
        return create_app(self.endpoint)


def _keep_calls_on_loopback() -> None:
    """Have Ray open the replica's port for calls by gRPC, which nobody makes here, on loopback.

    Ray 2.60 opens it on all interfaces, asks for no token, and unpickles what arrives.
    """

    def on_loopback(server: Any, address: str) -> Any:  # noqa: ANN401 - Ray is not typed
        return add_port_to_grpc_server(server, "127.0.0.1:0")  # type: ignore[no-untyped-call]

    replica.add_port_to_grpc_server = on_loopback  # type: ignore[attr-defined]


def build(settings: ServingConfig) -> Any:  # noqa: ANN401 - Ray is not typed
    """Build the Serve application of a campaign, for `serve deploy`.

    Raises:
        ConfigError: the campaign file or the tokens are invalid, the run directory was begun with
            another file, or there are no tokens behind HAProxy, where all clients seem to be on
            the same machine.
    """
    if settings.tokens is None and os.environ.get(HAPROXY) == "1":
        raise ConfigError(
            f"set `tokens`: with {HAPROXY}=1 remote clients cannot be told from local ones"
        )
    return _application(settings)


def _application(settings: ServingConfig) -> Any:  # noqa: ANN401 - Ray is not typed
    config = load_campaign(settings.campaign)
    check_frozen(Storage(config.run_root), config)
    _check_encoders(config)
    Access.read(settings.tokens)  # fail here rather than in each replica
    deployment = serve.deployment(
        name=config.name,
        max_ongoing_requests=MAX_ONGOING,
        max_queued_requests=MAX_QUEUED,
        ray_actor_options={
            "num_cpus": settings.cpus,
            "num_gpus": max(
                encoder.num_gpus
                for task in config.tasks.values()
                for encoder in task.named_encoders.values()
            ),
            "label_selector": settings.labels,
        },
        # The access log takes 5 % of a loaded machine's CPU time.
        logging_config=LoggingConfig(enable_access_log=False),
        **_replica_options(settings),
    )
    return deployment(serve.ingress()(Replica)).bind(settings)


def _check_encoders(config: CampaignConfig) -> None:
    """Refuse a campaign whose encoders cannot encode a request.

    Raises:
        ConfigError: names the task, and what is possible instead.
    """
    for name, task in config.tasks.items():
        if task.dimension is not None:
            raise ConfigError(
                f"{config.name} cannot be served: task {name} reads embeddings that its sources "
                "came with, and a request has none. Score tables that have them with `umc score`"
            )


def _replica_options(settings: ServingConfig) -> dict[str, Any]:
    if settings.max_replicas is None:
        return {"num_replicas": settings.replicas}
    autoscaling = AutoscalingConfig(
        min_replicas=settings.replicas,
        max_replicas=settings.max_replicas,
        target_ongoing_requests=settings.batch_size,
    )
    return {"autoscaling_config": autoscaling}


def start(settings: Sequence[ServingConfig], host: str, port: int) -> list[str]:
    """Serve campaigns on the connected cluster; return their routes.

    A single campaign has the route /, several have /NAME.

    Raises:
        ConfigError: other machines can reach the address, and there are no tokens, or somebody
            else listens on the port.
    """
    for each in settings:
        if each.tokens is None and not is_loopback(host):
            raise ConfigError(f"tokens are required: other machines can reach {host}")
    # What cannot be served must not leave Serve behind: it keeps the options of its first start.
    applications = [_application(each) for each in settings]
    _start_serve(host, port)
    refuse_without_replica()
    names = [load_campaign(each.campaign).name for each in settings]
    routes = ["/"] if len(names) == 1 else [f"/{name}" for name in names]
    for application, name, route in zip(applications, names, routes, strict=True):
        serve.run(application, name=name, route_prefix=route)
    return routes


def _start_serve(host: str, port: int) -> None:
    """Have Serve listen, or use it as it does already.

    Raises:
        ConfigError: somebody else listens there, or the Serve of the cluster elsewhere.
    """
    running = _get_global_client(raise_if_no_controller_running=False)
    if running is not None:
        options = running.http_config
        if (options.host, options.port) != (host, port):
            raise ConfigError(
                f"cannot serve on {authority(host, port)}: Serve of this cluster listens on "
                f"{authority(options.host, options.port)}: use that, or end it first"
            )
        return
    listen(host, port).close()
    try:
        serve.start(
            controller_options=ControllerOptions(runtime_env={"env_vars": FRONT}),  # and proxies
            http_options={"host": host, "port": port, "request_timeout_s": REQUEST_TIMEOUT_S},
            logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
        )
    except RuntimeError as error:
        if "Failed to bind" not in str(error):
            raise
        serve.shutdown()  # type: ignore[no-untyped-call] # the next start would find it deaf
        raise ConfigError(taken(host, port)) from error
