"""The one exception that becomes an HTTP error response."""

import math
from collections.abc import Sequence

from umc_ray.serving.messages import Problem, SampleError


class Refusal(Exception):
    """A refused request; the response has the message and repeats nothing of the request."""

    def __init__(
        self,
        status: int,
        error: str,
        errors: Sequence[SampleError] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(error)
        self.status, self.problem = status, Problem(error=error, errors=list(errors))
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell a client how to authenticate, or when to retry."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return headers
