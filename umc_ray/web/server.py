"""Run the annotation page as a standalone server."""

import logging
from contextlib import suppress

import uvicorn

from umc_ray.campaign.run import Run
from umc_ray.console import print_line
from umc_ray.errors import ConfigError
from umc_ray.serving.connections import BoundedConnection
from umc_ray.serving.ports import authority, listen
from umc_ray.serving.settings import is_loopback
from umc_ray.web.app import create_app
from umc_ray.web.site import Site

logger = logging.getLogger(__name__)


def serve_page(run: Run, host: str, port: int) -> None:
    """Serve the page until interrupted.

    Raises:
        ConfigError: the campaign uses another annotation backend, it has no account, or the page
            cannot listen on the address.
    """
    site = Site(run)
    if not site.accounts.all():
        raise ConfigError(
            f"campaign {run.config.name} has no account to log in with: create one with "
            "`umc account CAMPAIGN.yaml NAME --role admin`"
        )
    config = uvicorn.Config(
        create_app(site),
        http=BoundedConnection,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        # By default uvicorn believes whoever connects from this machine about their address.
        proxy_headers=bool(proxies := run.config.annotation.trusted_proxies),
        forwarded_allow_ips=proxies,
    )
    with listen(host, port) as listener, suppress(KeyboardInterrupt):
        print_line(f"http://{authority(host, port)}/")
        if not is_loopback(host):
            logger.warning(
                "%s accepts unencrypted connections from other machines: put a TLS proxy in front",
                host,
            )
        uvicorn.Server(config).run(sockets=[listener])
