"""A web service (Starlette) that relays an answer to the browser while the model writes it.

``python examples/relay.py --serve`` listens on port 8000: open http://127.0.0.1:8000/?q=Why in a
browser, or try ``curl -N 'http://127.0.0.1:8000/stream?q=Why'``. Without arguments it sends itself
some requests, prints what it hears and ends. Without ``RUNWARE_API_KEY`` the answers come from a
local emulator. Needs the extra ``examples``.

``new EventSource("/stream?q=…")`` hears the events of the Messages shape: ``message_start``,
``content_block_delta``, …, and ``message_stop`` at the true end; or ``failed``, in place of what is
missing. An EventSource dials again when its connection breaks, **and would ask, and pay, again**:

* the page calls ``close()`` at the end, because an EventSource takes that for a broken connection;
* every event has an id, ``ASK:NUMBER``. The browser brings the last one when it dials again, in the
  header ``Last-Event-ID``, and gets what comes after it, of the same answer;
* the page names each question (``ask=UUID``), so that also a redial before the first id is known;
* pings keep idle connections open. A redial for what is gone gets HTTP 204, which ends it.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from _answers import Answer, event_text
from _browse import browse
from _server import server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runware_ws import Client, InvalidTask, RunwareError
from runware_ws.emulator import Emulator, EmulatorOptions
from runware_ws.messages import MessageParam

RETRY = 1000
"""Milliseconds that a browser waits before it dials again."""
PING = 15.0
"""Seconds of silence until a ping. Proxies close what is silent for a minute."""
LINGER = 30.0
"""Seconds that an answer goes on, and is kept at its end, while nobody reads it."""
SLOW = 2.0
"""Seconds until the response begins without a first event. Trouble before gets a status."""
NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
MOST = 1000
"""Answers in memory, until further questions get HTTP 503."""

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Relay</title>
<form><input name="q" size="50" aria-label="Question"><button>Ask</button></form>
<p id="answer"></p><p id="state"></p>
<script>
const form = document.forms[0], answer = document.getElementById("answer");
const state = document.getElementById("state");
form.onsubmit = (event) => {
  event?.preventDefault();
  answer.textContent = state.textContent = "";
  // All redials of this source have the same URL, and so the same name of the question.
  const asked = new URLSearchParams({ q: form.q.value, ask: crypto.randomUUID() });
  const source = new EventSource("/stream?" + asked);
  const end = (words) => { source.close(); state.textContent = words; };
  source.addEventListener("content_block_delta", (event) => {
    answer.textContent += JSON.parse(event.data).delta.text ?? "";
  });
  source.addEventListener("message_stop", () => end("done"));
  source.addEventListener("failed", (event) => end("failed: " + JSON.parse(event.data).message));
  source.onerror = () => {
    const gone = source.readyState === EventSource.CLOSED;
    gone ? end("failed: no answer") : (state.textContent = "dialling again");
  };
};
form.q.value = new URLSearchParams(location.search).get("q") ?? "";
if (form.q.value) form.onsubmit();
</script></html>"""


def slowly(emulator: Emulator) -> None:
    """Only for the emulator: a stream is worth a look only if it takes a while."""
    emulator.options = EmulatorOptions(token_rate=50)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """One client for the whole life of the service: all streams share its socket."""
    async with server(slowly) as (url, key), Client(url, api_key=key, timeout=60) as client:
        answers: dict[str, Answer] = {}
        app.state.client, app.state.answers = client, answers
        async with asyncio.TaskGroup() as group:
            app.state.group = group
            yield
            await client.drain(timeout=10)
            for answer in list(answers.values()):
                answer.give_up()


async def make(client: Client, answer: Answer) -> None:
    """Ask once, and note the events of the answer for whoever reads them."""
    question: MessageParam = {"role": "user", "content": answer.question}
    try:
        events = await client.messages.create(max_tokens=1000, messages=[question], stream=True)
        async with events:
            async for event in events:
                answer.add(event.type, event)
        answer.end()
    except RunwareError as error:
        # The name is not "error", which EventSource uses itself, for a connection that broke.
        answer.add("failed", {"error": type(error).__name__, "message": error.message})
        answer.end(error)
    except asyncio.CancelledError:
        # Whoever still listens must not take silence for the end.
        answer.add("failed", {"error": "GivenUp", "message": "the service gave it up"})
        answer.end()
        raise


async def relayed(answer: Answer, after: int) -> AsyncIterator[str]:
    """The events behind the first ``after`` ones as text, and pings."""
    # An id without data is no event, but the browser knows it from now on.
    yield f"retry: {RETRY}\nid: {answer.ask}:{after}\n\n"
    with answer.reading():
        while True:
            for number, (name, data) in enumerate(answer.events[after:], after + 1):
                yield event_text(name, data, f"{answer.ask}:{number}")
                after = number
            if answer.ended and after == len(answer.events):
                return
            try:
                async with asyncio.timeout(PING):
                    await answer.more(after)
            except TimeoutError:
                yield ": ping\n\n"


async def stream(request: Request) -> Response:
    """``/stream?q=…&ask=…``: a new answer, or the rest of one that was begun."""
    answers: dict[str, Answer] = request.app.state.answers
    asked = request.query_params.get("q", "")
    last, _, number = request.headers.get("Last-Event-ID", "").rpartition(":")
    ask = last or request.query_params.get("ask") or str(uuid4())
    answer = answers.get(ask)
    if not NAME.fullmatch(ask) or (answer is not None and answer.question != asked):
        return JSONResponse({"error": "ask must name one question, in 1 to 64 letters"}, 400)
    if answer is None and last:
        return Response(status_code=204)  # The answer is gone: it must not be asked for again.
    if answer is None:
        if len(answers) >= MOST:
            return JSONResponse({"error": "busy"}, 503, headers={"Retry-After": "5"})
        answer = Answer(ask, asked, LINGER, forget=lambda: answers.pop(ask, None))
        answers[ask] = answer
        making = make(request.app.state.client, answer)
        answer.task = request.app.state.group.create_task(making)
    with answer.reading(), suppress(TimeoutError):
        async with asyncio.timeout(SLOW):
            await answer.more(0)
    if answer.error is not None and len(answer.events) == 1:
        answers.pop(ask, None)
        error, status = answer.error, 400 if isinstance(answer.error, InvalidTask) else 502
        return JSONResponse({"error": type(error).__name__, "message": error.message}, status)
    after = min(int(number), len(answer.events)) if number.isdecimal() else 0
    # Proxies that buffer would turn the stream into one piece.
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(relayed(answer, after), 200, headers, "text/event-stream")


async def page(_: Request) -> Response:
    """The page that asks, listens, and says ``close()``."""
    return HTMLResponse(PAGE)


app = Starlette(routes=[Route("/", page), Route("/stream", stream)], lifespan=lifespan)


async def ask_itself() -> None:
    """Start the service in this process, send it requests, and shut it down again."""
    async with app.router.lifespan_context(app):
        client: Client = app.state.client
        whole = await browse(app, "Why is the sky blue?")
        print(f"  {whole.text}")
        print(f"  in {whole.deltas} deltas within {whole.seconds:.2f} s, up to {whole.names[-1]}")

        first = await browse(app, "And why is it red?", ask="a-name", leave_after=6)
        rest = await browse(app, "And why is it red?", ask="a-name", last_event_id=first.last_id)
        print(f"  left after {len(first.names)} events, came back for {len(rest.names)} more:")
        print(f"  {first.text}{rest.text}")
        print(f"  asked in all: {client.stats().submitted}")

        refused = await browse(app, "")
        print(f"  {refused.body}")


def main() -> None:
    if "--serve" not in sys.argv[1:]:
        asyncio.run(ask_itself())
        return
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=8000)


if __name__ == "__main__":
    main()
