"""Label Studio's ML backend protocol: it requests pre-labels and reports annotations.

In Label Studio, enter the URL of this application; with several tasks, URL/labelstudio/TASK.
The token is the password of HTTP Basic authentication. Label Studio waits at most a second or two
for a response while an annotator looks on, and treats an error as "no labels".
"""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from umc_ray.errors import DataError, StoreError
from umc_ray.labelstudio.form import Form, project_id
from umc_ray.labelstudio.notify import notify_change
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.json_body import BoundedRoute
from umc_ray.serving.messages import MOST_SAMPLES, Sample, SampleScore, ScoreRequest
from umc_ray.serving.refusal import Refusal

Document = dict[str, Any]

DATA_URI = "data:image/"
MAX_URL_CHARS = 2000


def add_ml_backend(app: FastAPI, endpoint: Endpoint) -> None:
    """Add the routes of the protocol."""
    router = APIRouter(tags=["Label Studio"], route_class=BoundedRoute)

    @router.get("/health")
    async def health() -> Document:
        """Confirm that the backend is running."""
        return {"status": "UP", "model_class": "umc_ray"}

    @router.post("/setup")
    async def setup() -> Document:
        """Return the version that is served; Label Studio asks before each prediction."""
        return {"model_version": endpoint.publication.manifest.version}

    @router.get("/versions")
    async def versions() -> Document:
        """Return the available versions: only the one that is served."""
        return {"versions": [endpoint.publication.manifest.version]}

    @router.post("/predict")
    async def predict(request: Request) -> Document:
        """Pre-label items; returns one result per item, in order."""
        message = await _read_message(request)
        return {"results": await _predict(endpoint, request.path_params.get("task"), message)}

    @router.post("/webhook")
    @router.post("/train")
    async def webhook(request: Request) -> Document:
        """Record that something changed; `umc labelstudio sync` then fetches the changes."""
        message = await _read_message(request)
        try:
            await notify_change(endpoint.run.storage, project_id(message.get("project")))
        except DataError as error:
            raise Refusal(422, "project: an id is required") from error
        except StoreError as error:
            raise Refusal(503, "the change could not be recorded", retry_after_s=10) from error
        return {}

    app.include_router(router)
    app.include_router(router, prefix="/labelstudio/{task}")


async def _read_message(request: Request) -> Document:
    message = await request.json() if await request.body() else None
    if not isinstance(message, dict):
        raise Refusal(422, "the body must be a JSON object")
    return message


async def _predict(endpoint: Endpoint, task: str | None, message: Document) -> list[Document]:
    """Score items in chunks: Label Studio sends all of a project in one request."""
    items, xml = message.get("tasks"), message.get("label_config")
    if not isinstance(items, list) or not isinstance(xml, str):
        raise Refusal(422, "tasks and label_config are required")
    if len(items) > MOST_SAMPLES:
        raise Refusal(413, f"requests are limited to {MOST_SAMPLES} tasks, found {len(items)}")
    try:
        form = Form.read(xml)
    except DataError as error:
        raise Refusal(422, f"label_config: {error}") from error
    scorer = endpoint.scorer(task)
    if not form.fits(endpoint.run.kinds[scorer.name].form()) or form.column != scorer.column:
        raise Refusal(422, f"label_config must show {scorer.column} and offer the task's labels")
    results: list[Document] = []
    for chunk in _chunks(items, endpoint.settings.max_samples):
        samples = [_sample(form, item) for item in chunk]
        results += await _score(endpoint, scorer.name, form, samples)
    return results


def _chunks(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _sample(form: Form, item: object) -> Sample:
    """Return the sample of an item; if the item has none, an empty one, which is invalid."""
    data = item.get("data") if isinstance(item, dict) else None
    value = data.get(form.key) if isinstance(data, dict) else None
    if not isinstance(value, str):
        return Sample()
    if form.column == "text":
        other = data.get(form.second) if isinstance(data, dict) and form.second else None
        return Sample(text=[value, other] if isinstance(other, str) else value)
    if value.startswith(DATA_URI):
        return Sample(image=value.partition(";base64,")[2])
    if len(value) > MAX_URL_CHARS:
        return Sample()
    is_url = value.startswith(("http://", "https://"))
    return Sample(image_url=value) if is_url else Sample(reference=value)


async def _score(
    endpoint: Endpoint, task: str, form: Form, samples: list[Sample]
) -> list[Document]:
    """Score samples; invalid ones get no label and the lowest score, so that people see them."""
    try:
        response = await endpoint.score(ScoreRequest(task=task, samples=samples))
    except Refusal as refusal:
        if not refusal.problem.errors:
            raise
        version = endpoint.publication.manifest.version
        return [_no_prediction(version)] * len(samples)
    scores = {result.index: result for result in response.results}
    specialists = len(endpoint.publication.manifest.ensembles[task].specialists)
    kind, acquisition = endpoint.run.kinds[task], endpoint.run.config.selection.acquisition

    def prediction(score: SampleScore | None) -> Document:
        if score is None:
            return _no_prediction(response.version)
        answer = kind.parse(score.label)
        return {
            "result": kind.form().result(answer, form.from_name, form.to_name),
            "score": 1 - kind.urgency(score.priority, acquisition, specialists),
            "model_version": response.version,
        }

    return [prediction(scores.get(index)) for index in range(len(samples))]


def _no_prediction(version: str) -> Document:
    return {"result": [], "score": 0.0, "model_version": version}
