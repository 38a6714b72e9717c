"""LangChain's client of OpenAI's, against the base URL given. Prints what it was told, as JSON."""

import asyncio
import json
import sys
from typing import Any

import openai
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings  # type: ignore[import-not-found]  # in .venv-peers alone

QUESTION = "where is my parcel"


def look_up(number: str) -> str:
    """Look a parcel up by its number."""
    return number


def asked(url: str) -> dict[str, Any]:
    given = {"base_url": url, "api_key": "unused", "max_retries": 0}
    chat = ChatOpenAI(model="desk", **given)
    responses = ChatOpenAI(model="desk", use_responses_api=True, **given)
    # Counting tokens beforehand would download an encoding.
    embeddings = OpenAIEmbeddings(model="desk", check_embedding_ctx_length=False, **given)
    try:
        ChatOpenAI(model="nobody", **given).invoke(QUESTION)
        unknown = None
    except openai.NotFoundError as error:
        unknown = error.code
    answer = chat.invoke(QUESTION)
    return {
        "invoke": answer.content,
        "tokens": answer.usage_metadata["total_tokens"],
        "stream": "".join(chunk.content for chunk in chat.stream(QUESTION)),
        "batch": [answer.content for answer in chat.batch([QUESTION, "great, thanks"])],
        "async": asyncio.run(chat.ainvoke(QUESTION)).content,
        "responses": responses.invoke(QUESTION).text,
        "responses_stream": "".join(chunk.text for chunk in responses.stream(QUESTION)),
        "tools": chat.bind_tools([look_up]).invoke(QUESTION).content,
        "completion": OpenAI(model="desk", **given).invoke(QUESTION),
        "embedding": embeddings.embed_query("a"),
        "unknown": unknown,
    }


if __name__ == "__main__":
    json.dump(asked(sys.argv[1]), sys.stdout)
