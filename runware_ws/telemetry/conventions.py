"""Names, units and buckets of OpenTelemetry: those of the GenAI conventions, and our own.

Version: 1.41.1 of the semantic conventions, the last that holds those for GenAI. They moved to a
repository of their own (``open-telemetry/semantic-conventions-genai``), which has no release yet
and is about to rename some (``gen_ai.client.operation.*`` to ``gen_ai.client.inference.*``). All of
them are in development; when they change, this file is the one to change.
"""

from __future__ import annotations

from typing import Final

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.1"

# Attributes

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
# Only where content is asked for.
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"

# Values

PROVIDER: Final = "runware"
"""The conventions list no value for Runware; one of one's own is allowed."""
INPUT: Final = "input"
OUTPUT: Final = "output"
CHAT: Final = "chat"
GENERATE_CONTENT: Final = "generate_content"
FINISH_REASONS: Final = frozenset(
    {"stop", "length", "content_filter", "tool_calls", "tool_use", "end_turn", "unknown"}
)
OTHER: Final = "_OTHER"
"""Stands for a value that the server chose and that is in no list."""

# Metrics: name, unit

OPERATION_DURATION: Final = ("gen_ai.client.operation.duration", "s")
TIME_TO_FIRST_CHUNK: Final = ("gen_ai.client.operation.time_to_first_chunk", "s")
TOKEN_USAGE: Final = ("gen_ai.client.token.usage", "{token}")

SECONDS: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
TOKENS: Final = tuple(4**power for power in range(14))

# Our own

TASK_UUID: Final = "runware_ws.task.uuid"
TASK_TYPE: Final = "runware_ws.task.type"
TASK_DELIVERY: Final = "runware_ws.task.delivery"
TASK_STATE: Final = "runware_ws.task.state"
TASK_SUBMITTED: Final = "runware_ws.task.submitted"
TASK_RECOVERED_BY: Final = "runware_ws.task.recovered_by"
TASK_SENDS: Final = "runware_ws.task.sends"
TASK_COST: Final = "runware_ws.task.cost"
METADATA: Final = "runware_ws.metadata."
"""Before the name of each entry."""
QUESTION: Final = "runware_ws.question"

EVENT_CUT: Final = "runware_ws.cut"
EVENT_RESUME: Final = "runware_ws.resume"
EVENT_SESSION_LOST: Final = "runware_ws.session_lost"
EVENT_TO_SOCKET: Final = "runware_ws.to_socket"
EVENT_ASK: Final = "runware_ws.ask"
EVENT_RESEND: Final = "runware_ws.resend"

RECONNECTS: Final = ("runware_ws.reconnects", "{connection}")
RESENDS: Final = ("runware_ws.resends", "{task}")
QUESTIONS: Final = ("runware_ws.questions", "{question}")
IN_FLIGHT: Final = ("runware_ws.tasks.in_flight", "{task}")
