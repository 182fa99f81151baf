"""The page as a server of its own."""

import logging

import uvicorn

from umc_ray.campaign.run import Run
from umc_ray.errors import ConfigError
from umc_ray.web.accounts import ROLES, Accounts
from umc_ray.web.app import create_app
from umc_ray.web.site import Site

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve_page(run: Run, host: str, port: int) -> None:
    """Answer people until interrupted.

    Raises:
        ConfigError: the campaign asks elsewhere, or there is no account to log in with.
    """
    site = Site(run)
    if not site.accounts.all():
        raise ConfigError(
            f"nobody could log in to {run.config.name}: make the first account with "
            "`umc account CAMPAIGN.yaml NAME --role admin`"
        )
    if host not in LOOPBACK:
        logger.warning("%s is reached by others without encryption: put TLS in front", host)
    uvicorn.run(
        create_app(site),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def set_account(run: Run, name: str, role: str, password: str) -> None:
    """Make an account, or give it another password and role.

    Raises:
        ConfigError: there is no such role.
        StoreError: the name or the password cannot be one.
    """
    known = next((each for each in ROLES if each == role), None)
    if known is None:
        raise ConfigError(f"there is no role {role}; there are {', '.join(ROLES)}")
    accounts = Accounts(run.store)
    if any(account.name == name for account in accounts.all()):
        accounts.change(name, known, active=True)
        accounts.set_password(name, password)
    else:
        accounts.add(name, known, password)
