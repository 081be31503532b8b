"""Users for the test of the bridge: tasks and streams, and what came of them, checked."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from locust import constant_throughput, events, task

from runware_ws import TextInference
from runware_ws.emulator import expected_text
from runware_ws.load.locust import RunwareUser

told: Counter[str] = Counter()


def count(request_type: str, exception: object, **_: Any) -> None:
    told["failed" if exception else request_type] += 1


def write(**_: Any) -> None:
    # The master's own record lacks what a slow worker tells after half a second.
    Path(os.environ["LOAD_TEST_FOLDER"], str(os.getpid())).write_text(json.dumps(told))


hooks: Any = events
hooks.request.add_listener(count)
hooks.quitting.add_listener(write)


class Agent(RunwareUser):
    wait_time = constant_throughput(4)
    api_key = os.environ["LOAD_TEST_KEY"]
    client_options: ClassVar[dict[str, Any]] = {
        "resend_early": True,
        "replay_grace": 0.05,
        "resend_after": 0.05,
    }

    @task(3)
    def ask(self) -> None:
        self._check(TextInference.prompt("Why?"), self.client.run)

    @task(1)
    def follow(self) -> None:
        self._check(TextInference.prompt("Why not?"), self.client.stream)

    def _check(self, question: TextInference, ask: Any) -> None:
        result = ask(question, name="why")
        wanted = expected_text(question.messages[0].content, question.task_uuid)
        if result is not None and result.text != wanted:
            raise AssertionError(f"{question.task_uuid} got {result.text}")
