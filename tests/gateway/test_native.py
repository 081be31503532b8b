"""Tasks in Runware's own shape, and the list of models."""

from __future__ import annotations

import json
from typing import Any, cast
from uuid import uuid4

import anyio
import pytest

from runware_ws.emulator import expected_text
from runware_ws.models.text_inference import HAIKU_MODEL
from tests import virtual
from tests.client.support import ample
from tests.gateway.support import executions, place
from tests.gateway.test_limits import callers

pytestmark = pytest.mark.anyio
anyio_backend = virtual.anyio_backend


def task(text: str = "Why?", **fields: Any) -> dict[str, Any]:
    return {
        "taskType": "textInference",
        "taskUUID": str(uuid4()),
        "model": HAIKU_MODEL,
        "messages": [{"role": "user", "content": text}],
        "settings": {"maxTokens": 64},
        **fields,
    }


def body(*tasks: Any) -> bytes:
    return json.dumps(tasks).encode()


@ample
async def test_an_array_of_tasks() -> None:
    async with place() as here:
        tasks = [task(f"question {number}") for number in range(5)]
        answer = await here.post(body(*tasks), "/v1")
        assert answer.status_code == 200
        data = {item["taskUUID"]: item["text"] for item in answer.json()["data"]}
        assert "errors" not in answer.json()
        for each in tasks:
            uuid = each["taskUUID"]
            assert data[uuid] == expected_text(each["messages"][0]["content"], uuid)
        assert executions(here) == 5


@ample
async def test_answers_and_errors_stand_side_by_side() -> None:
    async with place() as here:
        bad, failing, good = task("a", settings={"maxTokens": 0}), task("b"), task("c")
        here.emulator.faults.inject_error(
            "inferenceError", "It went wrong.", task_uuid=failing["taskUUID"]
        )
        answer = await here.post(body(bad, failing, good), "/v1")
        assert answer.status_code == 200
        assert [item["taskUUID"] for item in answer.json()["data"]] == [good["taskUUID"]]
        invalid, failed = answer.json()["errors"]
        assert invalid["taskUUID"] == bad["taskUUID"]
        assert invalid["code"] == "invalidTask"
        assert "settings.maxTokens" in invalid["message"]
        assert (failed["taskUUID"], failed["code"]) == (failing["taskUUID"], "inferenceError")
        alone = await here.post(body(bad), "/v1")
        assert (alone.status_code, alone.headers["x-should-retry"]) == (400, "false")


@ample
async def test_a_stream_of_items() -> None:
    async with place() as here:
        given = task(deliveryMethod="stream")
        answer = await here.post(body(given), "/v1")
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        items = [json.loads(line) for line in lines[:-1]]
        assert {item["taskUUID"] for item in items} == {given["taskUUID"]}
        text = "".join(item["delta"].get("text", "") for item in items)
        assert text == expected_text("Why?", given["taskUUID"])
        assert items[-1]["finishReason"] == "stop"
        two = await here.post(body(given, task()), "/v1")
        assert two.status_code == 400
        assert executions(here) == 1


@ample
async def test_a_stream_that_fails_says_so() -> None:
    async with place() as here:
        here.emulator.faults.inject_error("insufficientCredits", "No credits.")
        answer = await here.post(body(task(deliveryMethod="stream")), "/v1")
        assert answer.status_code == 402
        assert answer.json()["errors"][0]["code"] == "insufficientCredits"


@ample
async def test_repeated_tasks_join() -> None:
    async with place() as here:
        given = body(*({**task("a"), "taskUUID": None} for _ in range(2)))
        given = given.replace(b'"taskUUID": null, ', b"")  # so that each try makes its own
        first = await here.post(given, "/v1", idempotency_key="k")
        again = await here.post(given, "/v1", idempotency_key="k")
        retried = [await here.post(given, "/v1", retry=retry) for retry in (0, 1)]
        for one, other in ((first, again), retried):
            uuids = [{item["taskUUID"] for item in each.json()["data"]} for each in (one, other)]
            assert uuids[0] == uuids[1]
            assert len(uuids[0]) == 2
        assert executions(here) == 4


@pytest.mark.parametrize("kind", ["sync", "stream"])
@ample
async def test_a_used_task_uuid_leads_to_no_answer_of_another_task(kind: str) -> None:
    """Some copy it from an example. The first task's time is over; its answer may still come."""
    uuid = str(uuid4())
    mine, other = "What is mine?", "Why?"

    def of(text: str) -> bytes:
        return body(task(text, taskUUID=uuid.upper(), deliveryMethod=kind))

    async with place(callers(timeout=1), emulator={"latency": "3s"}) as here:
        late = await here.post(of(mine), "/v1", key="key-of-ann")
        assert late.status_code == 504
        for moment in (0, 5):
            await anyio.sleep(moment)
            for name, text in (("bob", other), ("bob", mine), ("ann", other)):
                answer = await here.post(of(text), "/v1", key=f"key-of-{name}")
                assert answer.status_code == 400, answer.text
                assert "was used before" in answer.json()["errors"][0]["message"]
        again = await here.post(body(task(mine, taskUUID=uuid)), "/v1", key="key-of-ann")
        assert again.json()["data"][0]["text"] == expected_text(mine, uuid)
        assert executions(here) == 1


@ample
async def test_a_key_names_one_array() -> None:
    """Of a longer one the first tasks would be joined, or be paid for anew, and the rest run."""
    async with place() as here:
        one, two, three = ({**task(text), "taskUUID": None} for text in "abc")
        arrays = [[one], [one, two], [one, two, three], [two, one]]
        for number, taken in enumerate(arrays):
            for array in (taken, *arrays):
                given = body(*array).replace(b'"taskUUID": null, ', b"")
                answer = await here.post(given, "/v1", idempotency_key=f"k{number}")
                assert answer.status_code == (200 if array is taken else 409)
                assert ("data" in answer.json()) == (array is taken)
        assert executions(here) == sum(map(len, arrays))


@ample
async def test_a_task_that_is_nested_too_deeply_is_refused() -> None:
    deep = b'[{"taskType": "textInference", "x": %s%s}]' % (b"[" * 500, b"]" * 500)
    two = deep[:-1] + b"," + deep[1:]
    async with place() as here:
        for given in (deep, two):
            for headers in ({}, {"idempotency-key": f"{len(given)}"}):
                answer = await here.http.post("/v1", content=given, headers=headers)
                assert answer.status_code == 400
                assert answer.headers["x-should-retry"] == "false"
        assert executions(here) == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"{}", "an array of tasks"),
        (b"[]", "an array of tasks"),
        (b"[1]", "an array of tasks"),
        (body(*[{}] * 1_001), "at most 1000 tasks"),
        (b'[{"taskType": "getTaskDetails", "taskUUID": "x"}]', "is not taken"),
        (b'[{"taskType": "authentication", "apiKey": "x"}]', "is not taken"),
        (b'[{"taskType": " getResponse", "taskUUID": "x"}]', "is not taken"),
        (b'[{"taskType": "AccountManagement"}]', "is not taken"),
        (b'[{"taskType": ["getTaskDetails"]}]', "taskType: must be a non-empty string"),
    ],
)
@ample
async def test_what_is_refused(given: bytes, words: str) -> None:
    async with place() as here:
        answer = await here.post(given, "/v1")
        assert answer.status_code == 400
        assert words in answer.text
        assert executions(here) == 0


@ample
async def test_a_task_whose_type_is_no_text_harms_no_other() -> None:
    async with place() as here:
        good = task()
        answer = await here.post(body({"taskType": {}}, good), "/v1")
        assert [item["taskUUID"] for item in answer.json()["data"]] == [good["taskUUID"]]
        (error,) = answer.json()["errors"]
        assert "taskType" in error["message"]


@pytest.mark.parametrize("delivery", ["stream", "sync"])
@ample
async def test_a_refused_task_has_an_error_of_its_own(delivery: str) -> None:
    async with place() as here:
        given = {"taskType": "getResponse", "taskUUID": "x", "deliveryMethod": delivery}
        answer = await here.post(body(given), "/v1")
        assert answer.status_code == 400
        (error,) = answer.json()["errors"]
        assert (error["taskUUID"], error["taskType"]) == ("x", "getResponse")


@ample
async def test_models() -> None:
    async with place(callers()) as here:
        key = {"x-api-key": "key-of-ann"}
        assert (await here.http.get("/v1/models")).status_code == 401
        listed = (await here.http.get("/v1/models", headers=key)).json()
        (model,) = listed["data"]
        assert model["id"] == "anthropic/claude-haiku-4.5"
        one = await here.http.get("/v1/models/claude-haiku-4-5", headers=key)
        assert one.json()["id"] == "claude-haiku-4-5"
        asks = here.anthropic(api_key="key-of-ann")
        ids = {cast("Any", await asks.models.list())._request_id for _ in range(2)}
        assert None not in ids
        assert len(ids) == 2
        none = await here.http.get("/v1/models/gpt", headers=key)
        assert (none.status_code, none.json()["type"]) == (404, "error")
