"""Where requests go whose model is no task."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.settings.sections import BreakerSettings, RetrySettings, Section, Timeouts


class PassthroughSettings(Section):
    """The default upstream, any OpenAI-compatible endpoint.

    Requests for models that are neither a task nor an alias of one go there untouched, under the model's own name.
    Nothing of their content is stored.
    """

    base_url: str
    """Its base URL, ending in /v1 as for OpenAI's clients."""
    replicas: list[str] = []
    """Further base URLs of the same upstream, under the same key: the one with the fewest requests under way is
    asked."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key."""
    models: Annotated[list[str], Field(min_length=1)] = ["*"]
    """Models that may be asked for, as patterns such as `gpt-4o*` (`*`, `?`, `[abc]`). Any other is a 404."""
    timeouts: Timeouts = Timeouts()
    """Time-outs towards it."""
    breaker: BreakerSettings = BreakerSettings()
    """When it is left alone."""
    retry: RetrySettings = RetrySettings()
    """When a request is sent once more."""
    input_price: float | None = Field(None, ge=0)
    """Dollars a million input tokens, of all its models; by default what `genai-prices` knows of each."""
    output_price: float | None = Field(None, ge=0)
    """Dollars a million output tokens, of all its models."""
