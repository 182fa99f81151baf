"""How long a client tries to reach an endpoint, and what it says meanwhile."""

import logging

import httpx
from tenacity import RetryCallState, wait_random_exponential

ATTEMPTS = 8
RETRY_S = 60.0
"""How long to try, and how often, at least: Ray takes half a minute to start a proxy anew."""

SHORT_S = 10.0
"""Nobody has to hear of a busy endpoint that asks for less time."""

NO_ADDRESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""No attempt can succeed."""

logger = logging.getLogger(__name__)


class Busy(Exception):
    """The request should be retried after so many seconds; 0 if the endpoint gave no time."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Outage:
    """Whether an endpoint is out of reach: said once, until it answers or the client gives up."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_said = False

    def say(self, state: RetryCallState) -> None:
        """Warn that an attempt has failed and that others follow."""
        error = _error(state)
        is_routine = isinstance(error, Busy) and 0 < error.after_s < SHORT_S
        if self._is_said or is_routine:
            return
        self._is_said = True
        goes_on = f"trying again for at least {RETRY_S:.0f} s, and {ATTEMPTS} times"
        logger.warning("%s does not respond: %s; %s", self.url, _reason(error), goes_on)

    def end(self) -> None:
        """Have the next failed attempt said again."""
        self._is_said = False


def gives_up(state: RetryCallState) -> bool:
    """Whether to try no more: after so many attempts and so much time, or if none can succeed."""
    if isinstance(_error(state), NO_ADDRESS):
        return True
    return state.attempt_number >= ATTEMPTS and (state.seconds_since_start or 0.0) >= RETRY_S


def wait_s(state: RetryCallState) -> float:
    """Return the time that the endpoint asked for, plus a random time to spread clients out."""
    error = _error(state)
    after_s = error.after_s if isinstance(error, Busy) else 0.0
    return after_s + float(wait_random_exponential(multiplier=0.1, max=10)(state))


def failure(url: str, state: RetryCallState) -> str:
    """Say that an endpoint did not respond, how long it was tried, and what to check."""
    error = _error(state)
    return (
        f"{url} did not respond in {state.attempt_number} attempts within "
        f"{state.seconds_since_start or 0:.0f} s: {_reason(error)}; {_advice(error)}"
    )


def _reason(error: BaseException | None) -> str:
    """Say what an attempt failed of; some errors of httpx have no text of their own."""
    return str(error) or type(error).__name__


def _advice(error: BaseException | None) -> str:
    if isinstance(error, Busy):
        return "check the address, and the log of its server: it is busy, or no endpoint is there"
    if isinstance(error, NO_ADDRESS):
        return "check the address: it should be like http://127.0.0.1:8000"
    return "check the address and the port, and that umc serve runs there"


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
