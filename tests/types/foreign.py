"""The ``anthropic`` package's own types pass as ours. Never run.

The checkers' common runs look at it, and ``test_types.py`` does not: that package alone takes mypy
longer than all of this one.
"""

from __future__ import annotations

from anthropic import types

from runware_ws import Client


async def foreign(
    client: Client,
    answer: types.Message,
    text: types.TextBlockParam,
    call: types.ToolUseBlockParam,
    returned: types.ToolResultBlockParam,
    tool: types.ToolParam,
    choice: types.ToolChoiceParam,
) -> None:
    await client.messages.create(
        max_tokens=9,
        system=[text],
        tools=[tool],
        tool_choice=choice,
        messages=[
            {"role": "user", "content": [text]},
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [returned]},
            {"role": "assistant", "content": answer.content},
        ],
    )
