"""Trouble of a store or of the network that passes: what is worth another try."""

import errno
import logging
import re

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

logger = logging.getLogger(__name__)

TRANSIENT_S3_ERROR = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE"
    r"|INTERNAL_FAILURE|UNKNOWN \(HTTP status (429|5\d\d)\))"
)
"""S3 errors that are worth a retry; the clients of Google and Azure retry by themselves."""


def _is_transient(error: BaseException) -> bool:
    """Whether an error comes from the network or a busy store rather than from the request."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if not isinstance(error, OSError):
        return False
    stale = error.errno == errno.ESTALE  # the server of a network disk was restarted
    return stale or (error.errno is None and TRANSIENT_S3_ERROR.search(str(error)) is not None)


RETRY = Retrying(
    retry=retry_if_exception(_is_transient),
    stop=stop_after_attempt(8),  # about 90 seconds, in addition to the S3 client's own retries
    wait=wait_random_exponential(max=30),  # random, so that workers do not all retry at once
    before_sleep=before_sleep_log(logger, logging.WARNING),
    reraise=True,
)
