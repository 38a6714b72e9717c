"""What a call to a teacher costs. Offline: the settings' own prices, else the table inside `genai-prices`."""

from __future__ import annotations

from dataclasses import dataclass

from core.settings import PassthroughSettings, TeacherSettings

_PROBE_TOKENS = 1000  # small, so that no surcharge for long contexts is met


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars a million tokens, and where that is known from."""

    input_price: float
    output_price: float
    source: str

    @property
    def free(self) -> bool:
        """Whether calls cost nothing."""
        return self.input_price == 0 and self.output_price == 0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for so many tokens. Cached prompts may be cheaper at the provider; this is the full price."""
        return (prompt_tokens * self.input_price + completion_tokens * self.output_price) / 1e6


def price_of(teacher: TeacherSettings) -> Price | None:
    """Return the teacher's price, or None where nobody knows it: a budget cannot be kept then.

    `teacher.input_price` and `output_price` win, each for itself; a teacher that Tutelage serves itself costs nothing;
    otherwise the model is looked up under the provider at `base_url`, then by its name alone, since a proxy in front of
    a provider usually keeps the model's name.
    """
    own_input, own_output = teacher.input_price, teacher.output_price
    if teacher.linear_probe is not None and (own_input is None or own_output is None):
        return Price(own_input or 0.0, own_output or 0.0, "served by Tutelage itself")
    return _price(teacher.model, teacher.base_url, own_input, own_output)


def price_of_model(model: str, upstream: PassthroughSettings) -> Price | None:
    """The same for a model of the default upstream."""
    return _price(model, upstream.base_url, upstream.input_price, upstream.output_price)


def price_by_name(model: str) -> Price | None:
    """The same for a model of which nothing but the name is known."""
    return _from_table(model, None)


def _price(model: str, base_url: str, own_input: float | None, own_output: float | None) -> Price | None:
    if own_input is not None and own_output is not None:
        return Price(own_input, own_output, "the settings")
    found = _from_table(model, base_url) or _from_table(model, None)
    if found is None or (own_input is None and own_output is None):
        return found
    return Price(
        found.input_price if own_input is None else own_input,
        found.output_price if own_output is None else own_output,
        f"the settings and {found.source}",
    )


def _from_table(model: str, base_url: str | None) -> Price | None:
    from genai_prices import Usage, calc_price  # 40 ms and a table of megabytes: only where a price is asked for

    usage = Usage(input_tokens=_PROBE_TOKENS, output_tokens=_PROBE_TOKENS)
    try:
        found = calc_price(usage, model, provider_api_url=base_url)
    except LookupError:
        return None
    scale = 1e6 / _PROBE_TOKENS
    name = f"genai-prices, {found.provider.name} {found.model.name or found.model.id}"
    return Price(float(found.input_price) * scale, float(found.output_price) * scale, name)
