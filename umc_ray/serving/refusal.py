"""Why the endpoint does not do what a request asks: the one exception that becomes an answer."""

import math
from collections.abc import Sequence

from umc_ray.serving.messages import Problem, SampleError


class Refusal(Exception):
    """A request that is refused; the answer holds the message and nothing of the request."""

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
        """What a client needs to do better."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after_s)))
        return headers
