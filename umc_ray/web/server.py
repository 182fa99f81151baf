"""Run the annotation page as a standalone server."""

import logging

import uvicorn

from umc_ray.campaign.run import Run
from umc_ray.errors import ConfigError
from umc_ray.serving.connections import BoundedConnection
from umc_ray.web.app import create_app
from umc_ray.web.site import Site

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve_page(run: Run, host: str, port: int) -> None:
    """Serve the page until interrupted.

    Raises:
        ConfigError: the campaign uses another annotation backend, or it has no account.
    """
    site = Site(run)
    if not site.accounts.all():
        raise ConfigError(
            f"campaign {run.config.name} has no account to log in with: create one with "
            "`umc account CAMPAIGN.yaml NAME --role admin`"
        )
    if host not in LOOPBACK:
        logger.warning(
            "%s accepts unencrypted connections from other machines: put a TLS proxy in front", host
        )
    uvicorn.run(
        create_app(site),
        host=host,
        port=port,
        http=BoundedConnection,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        # By default uvicorn believes whoever connects from this machine about their address.
        proxy_headers=bool(proxies := run.config.annotation.trusted_proxies),
        forwarded_allow_ips=proxies,
    )
