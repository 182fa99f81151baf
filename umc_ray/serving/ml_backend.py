"""Label Studio's ML backend: it asks for pre-labels, and tells what people did.

Its address in Label Studio is this application's; with several tasks, /labelstudio/TASK of it. A
token goes in as the password of HTTP Basic authentication. Label Studio waits for none of these
answers longer than a second or two while a person looks on, and takes an error for "no labels".
"""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI, Request

from umc_ray.errors import DataError, StoreError
from umc_ray.labelstudio.form import Form, project_id, urgency
from umc_ray.labelstudio.notify import notify_change
from umc_ray.serving.endpoint import Endpoint
from umc_ray.serving.messages import Sample, SampleScore, ScoreRequest
from umc_ray.serving.refusal import Refusal

Document = dict[str, Any]

DATA_URI = "data:image/"


def add_ml_backend(app: FastAPI, endpoint: Endpoint) -> None:
    """Add the routes of the protocol."""
    router = APIRouter(tags=["Label Studio"])

    @router.get("/health")
    async def health() -> Document:
        """Say that this backend is there."""
        return {"status": "UP", "model_class": "umc_ray"}

    @router.post("/setup")
    async def setup() -> Document:
        """Say which version answers; Label Studio asks before each prediction."""
        return {"model_version": endpoint.publication.manifest.version}

    @router.get("/versions")
    async def versions() -> Document:
        """Say which versions there are: the one that answers."""
        return {"versions": [endpoint.publication.manifest.version]}

    @router.post("/predict")
    async def predict(request: Request) -> Document:
        """Pre-label items, one result for each, in their order."""
        message = await _message(request)
        return {"results": await _predictions(endpoint, request.path_params.get("task"), message)}

    @router.post("/webhook")
    @router.post("/train")
    async def webhook(request: Request) -> Document:
        """Note that something changed; `umc labelstudio sync` looks what it is."""
        message = await _message(request)
        try:
            await notify_change(endpoint.run.storage, project_id(message.get("project")))
        except DataError as error:
            raise Refusal(422, "project: an id is needed") from error
        except StoreError as error:
            raise Refusal(503, "the change cannot be noted", retry_after_s=10) from error
        return {}

    app.include_router(router)
    app.include_router(router, prefix="/labelstudio/{task}")


async def _message(request: Request) -> Document:
    try:
        message = await request.json()
    except (ValueError, RecursionError) as error:
        raise Refusal(422, "the body is not JSON") from error
    if not isinstance(message, dict):
        raise Refusal(422, "body: an object is needed")
    return message


async def _predictions(endpoint: Endpoint, task: str | None, message: Document) -> list[Document]:
    """Score items in pieces: Label Studio sends all of a project at once."""
    items, xml = message.get("tasks"), message.get("label_config")
    if not isinstance(items, list) or not isinstance(xml, str):
        raise Refusal(422, "tasks and label_config are needed")
    try:
        form = Form.read(xml)
    except DataError as error:
        raise Refusal(422, f"label_config: {error}") from error
    scorer = endpoint.scorer(task)
    if set(scorer.config.labels) != set(form.labels) or form.column != scorer.column:
        raise Refusal(422, f"label_config does not ask for {scorer.column} and labels of the task")
    results: list[Document] = []
    for some in _pieces(items, endpoint.settings.max_samples):
        samples = [_sample(form, each) for each in some]
        results += await _scored(endpoint, scorer.name, form, samples)
    return results


def _pieces(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _sample(form: Form, item: object) -> Sample:
    """Return an item's sample; an empty one, which no task can use, if it has none."""
    data = item.get("data") if isinstance(item, dict) else None
    value = data.get(form.key) if isinstance(data, dict) else None
    if not isinstance(value, str):
        return Sample()
    if form.column == "text":
        return Sample(text=value)
    if value.startswith(DATA_URI):
        return Sample(image=value.partition(";base64,")[2])
    if len(value) > 2000:
        return Sample()
    is_url = value.startswith(("http://", "https://"))
    return Sample(image_url=value) if is_url else Sample(reference=value)


async def _scored(
    endpoint: Endpoint, task: str, form: Form, samples: list[Sample]
) -> list[Document]:
    """Score samples; those that cannot be come first, without a label: a person must look."""
    try:
        answer = await endpoint.score(ScoreRequest(task=task, samples=samples))
    except Refusal as refusal:
        if not refusal.problem.errors:
            raise
        version = endpoint.publication.manifest.version
        return [{"result": [], "score": 0.0, "model_version": version}] * len(samples)
    found = {each.index: each for each in answer.results}
    ensemble = endpoint.publication.manifest.ensembles[task]
    acquisition = endpoint.run.config.selection.acquisition

    def prediction(each: SampleScore | None) -> Document:
        if each is None:
            return {"result": [], "score": 0.0, "model_version": answer.version}
        classes, specialists = len(each.probabilities), len(ensemble.specialists)
        return {
            "result": form.result(each.label),
            "score": 1 - urgency(each.priority, acquisition, classes, specialists),
            "model_version": answer.version,
        }

    return [prediction(found.get(index)) for index in range(len(samples))]
