"""An in-memory Label Studio whose responses follow recordings of version 1.23.2."""

import json
import re
from datetime import UTC, datetime, timedelta

import httpx

KEY = "e30.e30.signature"
LEGACY = "0123456789abcdef0123456789abcdef01234567"


class FakeStudio:
    """Handles the API calls that umc_ray makes."""

    def __init__(self):
        self.projects, self.items, self.hooks, self.ml = [], [], [], []
        self.access, self.refreshed, self.calls, self.changes = "", 0, [], 0
        self.behind = timedelta()  # how far its clock is
        self.transport = httpx.MockTransport(self)

    def __call__(self, request):
        self.calls.append((request.method, request.url.path))
        if request.url.path == "/api/token/refresh/":
            if json.loads(request.content) != {"refresh": KEY}:
                return httpx.Response(401, json={"detail": "Token is invalid"})
            self.refreshed += 1
            self.access = f"access-{self.refreshed}"
            return httpx.Response(200, json={"access": self.access})
        if request.headers["authorization"] not in (f"Bearer {self.access}", f"Token {LEGACY}"):
            return httpx.Response(401, json={"detail": "Given token not valid"})
        body = json.loads(request.content) if request.content else None
        for method, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, request.url.path)
            if match and method == request.method:
                numbers = [int(each) for each in match.groups()]
                return answer(self, *numbers, body=body, query=request.url.params)
        return httpx.Response(404, json={"detail": "Not found."})

    def touch(self, item):
        """Set an item's modification time, as any change does."""
        self.changes += 1
        now = datetime.now(UTC) - self.behind + timedelta(microseconds=self.changes)
        item["updated_at"] = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return item["updated_at"]

    def annotate(self, umc_id, label, person=1, **more):
        """Annotate an item as a person would, with a label or several; None skips it."""
        (item,) = [each for each in self.items if each["data"]["umc_id"] == umc_id]
        choices = [label] if isinstance(label, str) else label
        result = [{"from_name": "label", "to_name": "text", "type": "choices"}]
        result[0]["value"] = {"choices": choices}
        annotation = {
            "id": 1000 + self.changes,
            "result": result if choices else [],
            "completed_by": person,
            "was_cancelled": label is None,
            "lead_time": 3.25,
            "updated_at": self.touch(item),
            **more,
        }
        item["annotations"].append(annotation)
        return annotation

    def delete(self, annotation):
        """Delete an annotation as a person would."""
        (item,) = [each for each in self.items if annotation in each["annotations"]]
        item["annotations"].remove(annotation)
        self.touch(item)

    def copy_of(self, umc_id):
        """Add another task of the same sample, as a second import would."""
        (item,) = [each for each in self.items if each["data"]["umc_id"] == umc_id]
        copy = {"id": len(self.items) + 1, "annotations": [], "predictions": []}
        self.items.append({**item, **copy})
        self.touch(self.items[-1])
        return self.items[-1]

    def list_projects(self, body, query):
        return httpx.Response(200, json={"results": self.projects, "next": None})

    def create_project(self, body, query):
        project = {"id": len(self.projects) + 1, "model_version": "", **body}
        self.projects.append(project)
        return httpx.Response(201, json=project)

    def project(self, number, body, query):
        version = (body or {}).get("model_version")
        known = [p["model_version"] for each in self.items for p in each["predictions"]]
        if version is not None and version not in (*known, *(each["title"] for each in self.ml)):
            detail = {"model_version": ["Model version doesn't exist either in predictions ..."]}
            return httpx.Response(400, json={"validation_errors": detail})
        self.projects[number - 1].update(body or {})
        there = [each for each in self.items if each["project"] == number]
        return httpx.Response(200, json={**self.projects[number - 1], "task_number": len(there)})

    def import_tasks(self, number, body, query):
        for each in body:
            item = {"id": len(self.items) + 1, "project": number, "data": each["data"]}
            self.items.append(item | {"annotations": [], "predictions": []})
            self.touch(self.items[-1])
        return httpx.Response(201, json={"task_count": len(body)})

    def tasks(self, body, query):
        filters = json.loads(query["query"]).get("filters", {"items": [None]})
        (condition,) = filters["items"]
        items = [
            each
            for each in self.items
            if each["project"] == int(query["project"])
            and (condition is None or each["updated_at"] > condition["value"])
        ]
        size, page = int(query["page_size"]), int(query["page"])
        tasks = items[(page - 1) * size : page * size]
        return httpx.Response(200, json={"total": len(items), "tasks": tasks})

    def predict(self, body, query):
        self.items[body["task"] - 1]["predictions"].append(body)
        return httpx.Response(201, json=body)

    def versions(self, number, body, query):
        items = [each for each in self.items if each["project"] == number]
        versions = [p["model_version"] for each in items for p in each["predictions"]]
        return httpx.Response(200, json={each: versions.count(each) for each in versions})

    def forget(self, number, body, query):
        for each in self.items:
            kept = [p for p in each["predictions"] if p["model_version"] != body["model_version"]]
            each["predictions"] = kept
        return httpx.Response(200, json={})

    def backends(self, body, query):
        return httpx.Response(200, json=self.ml)

    def add_backend(self, body, query):
        """Like the real one: set the version to the title and add a webhook without a secret."""
        self.ml.append(body)
        self.projects[body["project"] - 1]["model_version"] = body["title"]
        hook = {"url": f"{body['url']}/webhook", "headers": {}, "project": body["project"]}
        return self.add_hook(hook, query)

    def list_hooks(self, body, query):
        hooks = [each for each in self.hooks if each["project"] == int(query["project"])]
        return httpx.Response(200, json=hooks)

    def add_hook(self, body, query):
        self.hooks.append({"id": len(self.hooks) + 1, "is_active": True, **body})
        return httpx.Response(201, json=self.hooks[-1])

    def change_hook(self, number, body, query):
        self.hooks[number - 1].update(body)
        return httpx.Response(200, json=self.hooks[number - 1])


ROUTES = [
    ("GET", r"/api/projects/", FakeStudio.list_projects),
    ("POST", r"/api/projects/", FakeStudio.create_project),
    ("GET", r"/api/projects/(\d+)/", FakeStudio.project),
    ("PATCH", r"/api/projects/(\d+)/", FakeStudio.project),
    ("POST", r"/api/projects/(\d+)/import", FakeStudio.import_tasks),
    ("GET", r"/api/tasks", FakeStudio.tasks),
    ("POST", r"/api/predictions/", FakeStudio.predict),
    ("GET", r"/api/projects/(\d+)/model-versions/", FakeStudio.versions),
    ("DELETE", r"/api/projects/(\d+)/model-versions/", FakeStudio.forget),
    ("GET", r"/api/ml/", FakeStudio.backends),
    ("POST", r"/api/ml/", FakeStudio.add_backend),
    ("GET", r"/api/webhooks/", FakeStudio.list_hooks),
    ("POST", r"/api/webhooks/", FakeStudio.add_hook),
    ("PATCH", r"/api/webhooks/(\d+)/", FakeStudio.change_hook),
]
