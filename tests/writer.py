"""An endpoint that writes texts, in OpenAI's protocol."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request, Response


class Writer:
    """Answers after so many errors; the text depends on the seed that is asked for."""

    def __init__(self, text: Callable[[int], str] = "- text {}".format) -> None:
        self.text = text
        self.errors, self.bodies, self.keys = [], [], []
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.complete)

    async def complete(self, request: Request):
        self.keys.append(request.headers.get("authorization"))
        if self.errors:
            error = self.errors.pop(0)
            return error if isinstance(error, Response) else Response("no such model", error)
        body = await request.json()
        self.bodies.append(body)
        text = self.text(body["seed"])
        return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port; gives the address of its API."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1/"
    finally:
        server.should_exit = True
        thread.join()
