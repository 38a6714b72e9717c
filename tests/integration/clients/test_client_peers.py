"""Clients that want older pins than the product: each runs in the peers' environment and prints what it was told."""

import json

import pytest


def test_langchain(run_script):
    assert run_script("ask_langchain.py") == {
        "invoke": "order_status",
        "tokens": 5,
        "stream": "order_status",
        "batch": ["order_status", "praise"],
        "async": "order_status",
        "responses": "order_status",
        "responses_stream": "order_status",
        "tools": "refund_status",
        "completion": "order_status",
        "embedding": [0.25, -0.5],
        "unknown": "model_not_found",
    }


def test_litellm(run_script):
    assert run_script("ask_litellm.py") == {
        "completion": "order_status",
        "tokens": 5,
        "stream": "order_status",
        "async": "order_status",
        "text_completion": "order_status",
        "responses": "order_status",
        "responses_stream": "order_status",
        "embedding": [0.25, -0.5],
        "unknown": "NotFoundError",
    }


@pytest.mark.parametrize("model", ["chat", "responses", "completion"])
@pytest.mark.parametrize("flags", [(), ("--no-stream",)])
def test_llm(run_llm, model, flags):
    assert run_llm("-m", model, "--no-log", *flags, "where is my parcel") == "order_status"


def test_openai_for_node(run_script, house):
    house.upstream.label = json.dumps({"label": "refund_status"})  # says the model big-json
    assert run_script("ask_openai.cjs") == {
        "chat": "order_status",
        "chat_stream": "order_status",
        "usage": 5,
        "chat_parse": {"label": "refund_status"},
        "completion": "order_status",
        "completion_stream": "order_status",
        "response": "order_status",
        "response_stream": "order_status",
        "embedding": [0.25, -0.5],
        "models": True,
        "unknown": "model_not_found",
        "invalid": "top_logprobs",
    }
