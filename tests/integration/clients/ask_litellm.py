"""LiteLLM as a client, against the base URL given. Prints what it was told, as JSON."""

import asyncio
import json
import sys
from typing import Any

import litellm  # type: ignore[import-not-found]  # in .venv-peers alone

QUESTION = "where is my parcel"
MESSAGES = [{"role": "user", "content": QUESTION}]


def asked(url: str) -> dict[str, Any]:
    given = {"api_base": url, "api_key": "unused", "num_retries": 0}
    try:
        litellm.completion(model="openai/nobody", messages=MESSAGES, **given)
        unknown = None
    except litellm.exceptions.NotFoundError as error:
        unknown = type(error).__name__
    answer = litellm.completion(model="openai/desk", messages=MESSAGES, **given)
    chunks = litellm.completion(model="openai/desk", messages=MESSAGES, stream=True, **given)
    text = litellm.text_completion(model="text-completion-openai/desk", prompt=QUESTION, **given)
    events = litellm.responses(model="openai/desk", input=QUESTION, stream=True, **given)
    response = litellm.responses(model="openai/desk", input=QUESTION, **given)
    return {
        "completion": answer.choices[0].message.content,
        "tokens": answer.usage.total_tokens,
        "stream": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "async": asyncio.run(litellm.acompletion(model="openai/desk", messages=MESSAGES, **given))
        .choices[0]
        .message.content,
        "text_completion": text.choices[0].text,
        "responses": response.output[0].content[0].text,
        "responses_stream": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
        "embedding": litellm.embedding(model="openai/desk", input=["a"], **given).data[0]["embedding"],
        "unknown": unknown,
    }


if __name__ == "__main__":
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    json.dump(asked(sys.argv[1]), sys.stdout)
