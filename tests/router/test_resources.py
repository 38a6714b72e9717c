"""Nothing blocks the loop, and nothing is left over."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from core.ledger import Ledger
from core.locallog import list_sources, read_frames
from core.settings import load_settings
from router.app import Gateway
from tests.support.openai_server import Teacher
from tests.support.processes import asgi_server, write_settings
from tests.support.students import LABELS

BODY = {"model": "desk", "messages": [{"role": "user", "content": "where is it"}]}


@pytest.fixture
def settings(tmp_path, student_url):
    with asgi_server(Teacher()) as teacher_url:
        task = {"labels": list(LABELS), "teacher": {"base_url": f"{teacher_url}/v1", "model": "big"}}
        document = {"state": str(tmp_path / "state"), "student": {"url": student_url}, "tasks": {"desk": task}}
        loaded = load_settings(write_settings(tmp_path / "tutelage.yaml", document))
        loaded.state.mkdir()
        ledger = Ledger(loaded.ledger_url)
        ledger.migrate()
        ledger.close()
        yield loaded


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def ask(client, **more):
    response = await client.post("/v1/chat/completions", json=BODY | more)
    assert response.status_code == 200
    return response


async def test_nothing_blocks_the_loop(settings):
    gateway = Gateway(settings)
    blocker: BlockBuster
    await gateway.start()  # nothing is served yet, and redis-py imports some of itself with its first connection
    with blockbuster_ctx() as blocker:
        # The one exception, on purpose: a record is handed to the kernel before the answer goes out, in microseconds.
        blocker.functions["os.write"].can_block_in("core/locallog/writer.py", {"append"})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://gateway") as client:
            for _ in range(3):
                await ask(client)
                await ask(client, stream=True)
                await client.get("/readyz")
                await client.get("/v1/models")
                await client.post("/v1/feedback", json={"exchange": "x", "label": "praise"})
    await gateway.stop()


async def test_starting_and_stopping_leaves_nothing_behind(settings):
    async def live_once():
        gateway = Gateway(settings)
        await gateway.start()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://gateway") as client:
            await ask(client)
            await ask(client, n=2)
        await gateway.stop()
        await asyncio.sleep(0)

    await live_once()
    descriptors, tasks = open_descriptors(), len(asyncio.all_tasks())
    for _ in range(25):
        await live_once()
    assert open_descriptors() <= descriptors + 2
    assert len(asyncio.all_tasks()) == tasks


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_while_it_is_answered_is_recorded_once(settings, stream):
    gateway = Gateway(settings)
    await gateway.start()
    body = json.dumps(BODY | {"stream": stream}).encode()
    answering = asyncio.Event()
    incoming = iter([{"type": "http.request", "body": body}])

    async def receive():
        message = next(incoming, None)
        if message is None:
            await answering.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answering.set()
            await asyncio.sleep(30)  # the client reads no more

    headers = [(b"content-length", str(len(body)).encode()), (b"x-tutelage-answer-by", b"teacher")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    await asyncio.wait_for(gateway(scope, receive, send), 10)
    await gateway.stop()
    (source,) = list_sources(settings.log_folder)
    assert len(read_frames(settings.log_folder, source, 0, 1 << 20)) == 1
