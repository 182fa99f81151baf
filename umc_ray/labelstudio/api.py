"""A client for the part of Label Studio's HTTP API that umc_ray uses."""

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
"""An access token expires after 300 s."""


class LabelStudioError(UmcError):
    """Label Studio rejected a request or did not respond."""


class LabelStudio:
    """Client of a Label Studio server; use it in a `with` block."""

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
        self.access_token, self.renewed_at = "", -RENEW_AFTER_S

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close all connections."""
        self.http.close()

    def create_project(self, **settings: Any) -> Document:  # noqa: ANN401 - any JSON value
        """Create a project."""
        project: Document = self._call("POST", "/api/projects/", settings)
        return project

    def project(self, project_id: int) -> Document:
        """Return a project."""
        project: Document = self._call("GET", f"/api/projects/{project_id}/")
        return project

    def projects(self) -> Iterator[Document]:
        """Return all projects."""
        page = 1
        while True:
            content = self._call("GET", "/api/projects/", page=page, page_size=PAGE)
            yield from content["results"]
            if not content.get("next"):
                return
            page += 1

    def change_project(self, project_id: int, **settings: Any) -> None:  # noqa: ANN401
        """Change settings of a project."""
        self._call("PATCH", f"/api/projects/{project_id}/", settings)

    def import_tasks(self, project_id: int, tasks: Sequence[Document]) -> None:
        """Add tasks to a project."""
        self._call("POST", f"/api/projects/{project_id}/import", list(tasks))

    def tasks(self, project_id: int, since: str | None = None) -> Iterator[Document]:
        """Return the tasks of a project with annotations; only those changed after `since`."""
        query: Document = {"ordering": ["tasks:id"]}
        if since is not None:
            changed = {"filter": "filter:tasks:updated_at", "operator": "greater"}
            condition = {**changed, "type": "Datetime", "value": since}
            query["filters"] = {"conjunction": "and", "items": [condition]}
        parameters: Document = {"project": project_id, "fields": "all", "page_size": PAGE}
        page, count = 1, 0
        while True:
            content = self._call(
                "GET", "/api/tasks", None, **parameters, page=page, query=json.dumps(query)
            )
            yield from content["tasks"]
            count += len(content["tasks"])
            if count >= content["total"] or not content["tasks"]:
                return
            page += 1

    def count(self, project_id: int) -> int:
        """Return how many tasks a project has."""
        return int(self.project(project_id)["task_number"])

    def add_prediction(self, prediction: Document) -> None:
        """Add a prediction to a task."""
        self._call("POST", "/api/predictions/", prediction)

    def versions(self, project_id: int) -> list[str]:
        """Return the model versions of a project's predictions."""
        return list(self._call("GET", f"/api/projects/{project_id}/model-versions/"))

    def delete_version(self, project_id: int, version: str) -> None:
        """Delete the predictions of a model version."""
        path = f"/api/projects/{project_id}/model-versions/"
        self._call("DELETE", path, {"model_version": version})

    def backends(self, project_id: int) -> list[Document]:
        """Return the ML backends of a project."""
        return list(self._call("GET", "/api/ml/", project=project_id))

    def add_backend(self, **settings: Any) -> None:  # noqa: ANN401
        """Register an ML backend; Label Studio calls it immediately."""
        self._call("POST", "/api/ml/", settings)

    def webhooks(self, project_id: int) -> list[Document]:
        """Return the webhooks of a project."""
        return list(self._call("GET", "/api/webhooks/", project=project_id))

    def add_webhook(self, **settings: Any) -> None:  # noqa: ANN401
        """Register a webhook."""
        self._call("POST", "/api/webhooks/", settings)

    def change_webhook(self, webhook_id: int, **settings: Any) -> None:  # noqa: ANN401
        """Change settings of a webhook."""
        self._call("PATCH", f"/api/webhooks/{webhook_id}/", settings)

    def _call(
        self,
        method: str,
        path: str,
        body: Document | list[Document] | None = None,
        **parameters: Any,  # noqa: ANN401 - any JSON value
    ) -> Any:  # noqa: ANN401 - any JSON value
        """Send a request; retry once with a new access token if this one has expired."""
        response = self._send(method, path, body, parameters)
        if response.status_code == 401 and self.access_token:
            self.access_token = ""
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
        if "." not in self.key:  # a legacy token; personal access tokens are JWTs
            return f"Token {self.key}"
        if not self.access_token or self.clock() - self.renewed_at > RENEW_AFTER_S:
            response = self._request("POST", "/api/token/refresh/", json={"refresh": self.key})
            if not response.is_success:
                raise LabelStudioError(
                    f"{self.url} rejects the personal access token: create a new one there"
                )
            self.access_token, self.renewed_at = response.json()["access"], self.clock()
        return f"Bearer {self.access_token}"

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        try:
            return self.http.request(method, path, **options)
        except httpx.TransportError as error:
            raise LabelStudioError(f"{self.url} does not respond: {error!r}") from error
