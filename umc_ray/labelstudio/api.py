"""Label Studio's HTTP API: the calls that we need of it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import httpx

from umc_ray.errors import UmcError

Document = dict[str, Any]

TIMEOUT_S = 60.0
PAGE = 100
RENEW_AFTER_S = 240.0
"""An access token is good for 300 s."""


class LabelStudioError(UmcError):
    """Label Studio refuses a request, or does not answer."""


class LabelStudio:
    """Asks a Label Studio server; close it, or use it in a `with` block."""

    def __init__(
        self,
        url: str,
        key: str,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect with a legacy token, 40 hexadecimal digits, or a personal access token."""
        self.url, self.key, self.clock = url.rstrip("/"), key, clock
        self.http = httpx.Client(base_url=self.url, timeout=TIMEOUT_S, transport=transport)
        self.access, self.renewed = "", -RENEW_AFTER_S

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close its connections."""
        self.http.close()

    def create_project(self, **settings: Any) -> Document:  # noqa: ANN401 - any JSON value
        """Create a project."""
        created: Document = self._ask("POST", "/api/projects/", settings)
        return created

    def project(self, number: int) -> Document:
        """Return a project."""
        found: Document = self._ask("GET", f"/api/projects/{number}/")
        return found

    def projects(self) -> Iterator[Document]:
        """Return all projects."""
        page = 1
        while True:
            found = self._ask("GET", "/api/projects/", page=page, page_size=PAGE)
            yield from found["results"]
            if not found.get("next"):
                return
            page += 1

    def change_project(self, number: int, **settings: Any) -> None:  # noqa: ANN401
        """Change settings of a project."""
        self._ask("PATCH", f"/api/projects/{number}/", settings)

    def import_tasks(self, number: int, tasks: Sequence[Document]) -> None:
        """Add items to a project."""
        self._ask("POST", f"/api/projects/{number}/import", list(tasks))

    def tasks(self, number: int, since: str | None = None) -> Iterator[Document]:
        """Return the items of a project with their answers, those changed after a time."""
        query: Document = {"ordering": ["tasks:id"]}
        if since is not None:
            changed = {"filter": "filter:tasks:updated_at", "operator": "greater"}
            item = {**changed, "type": "Datetime", "value": since}
            query["filters"] = {"conjunction": "and", "items": [item]}
        parameters: Document = {"project": number, "fields": "all", "page_size": PAGE}
        page, seen = 1, 0
        while True:
            found = self._ask(
                "GET", "/api/tasks", None, **parameters, page=page, query=json.dumps(query)
            )
            yield from found["tasks"]
            seen += len(found["tasks"])
            if seen >= found["total"] or not found["tasks"]:
                return
            page += 1

    def predict(self, prediction: Document) -> None:
        """Add a prediction to an item."""
        self._ask("POST", "/api/predictions/", prediction)

    def versions(self, number: int) -> list[str]:
        """Return the versions that a project's predictions are of."""
        return list(self._ask("GET", f"/api/projects/{number}/model-versions/"))

    def forget_version(self, number: int, version: str) -> None:
        """Delete the predictions of a version."""
        path = f"/api/projects/{number}/model-versions/"
        self._ask("DELETE", path, {"model_version": version})

    def backends(self, number: int) -> list[Document]:
        """Return the ML backends of a project."""
        return list(self._ask("GET", "/api/ml/", project=number))

    def add_backend(self, **settings: Any) -> None:  # noqa: ANN401
        """Register an ML backend; Label Studio asks it at once."""
        self._ask("POST", "/api/ml/", settings)

    def webhooks(self, number: int) -> list[Document]:
        """Return the webhooks of a project."""
        return list(self._ask("GET", "/api/webhooks/", project=number))

    def add_webhook(self, **settings: Any) -> None:  # noqa: ANN401
        """Register a webhook."""
        self._ask("POST", "/api/webhooks/", settings)

    def change_webhook(self, number: int, **settings: Any) -> None:  # noqa: ANN401
        """Change settings of a webhook."""
        self._ask("PATCH", f"/api/webhooks/{number}/", settings)

    def _ask(
        self,
        method: str,
        path: str,
        body: Document | list[Document] | None = None,
        **parameters: Any,  # noqa: ANN401 - any JSON value
    ) -> Any:  # noqa: ANN401 - any JSON value
        """Ask, once more with a new access token if this one has run out."""
        response = self._send(method, path, body, parameters)
        if response.status_code == 401 and self.access:
            self.access = ""
            response = self._send(method, path, body, parameters)
        if not response.is_success:
            raise LabelStudioError(
                f"{self.url}: {method} {path}: {response.status_code}: {response.text[:200]}"
            )
        return response.json() if response.content else {}

    def _send(
        self, method: str, path: str, body: Document | list[Document] | None, parameters: Document
    ) -> httpx.Response:
        headers = {"authorization": self._authorization()}
        return self._request(method, path, headers=headers, json=body, params=parameters)

    def _authorization(self) -> str:
        if "." not in self.key:  # a legacy token; the other kind is a JWT
            return f"Token {self.key}"
        if not self.access or self.clock() - self.renewed > RENEW_AFTER_S:
            response = self._request("POST", "/api/token/refresh/", json={"refresh": self.key})
            if not response.is_success:
                raise LabelStudioError(f"{self.url} refuses the personal access token")
            self.access, self.renewed = response.json()["access"], self.clock()
        return f"Bearer {self.access}"

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        try:
            return self.http.request(method, path, **more)
        except httpx.TransportError as error:
            raise LabelStudioError(f"{self.url} does not answer: {error!r}") from error
