"""What may be stored of an exchange, by mode; and redaction, which must find what counts and never hang."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import StartupError, StateError
from core.privacy import HASHED, Privacy, needs_key
from core.privacy.patterns import passes_luhn, passes_mod97
from core.records import StudentAnswer
from core.secret_file import load_secret
from core.settings import PrivacySettings, TaskSettings

KEY = bytes(range(32))
NAMES = ("email", "phone", "iban", "credit_card", "ipv4", "ipv6")


def privacy(key: bytes = KEY, **values) -> Privacy:
    return Privacy(PrivacySettings.model_validate(values), key)


def redacting(*rules, **values) -> Privacy:
    return privacy(redact=[{"name": rule} if isinstance(rule, str) else rule for rule in rules], **values)


EVERYTHING = redacting(*NAMES)


def task(**values) -> TaskSettings:
    teacher = {"base_url": "http://127.0.0.1:9/v1", "model": "teacher", "data_may_leave": True}
    return TaskSettings.model_validate({"labels": ["a", "b"], "teacher": teacher} | values)


def test_full_stores_what_is_there():
    full = privacy()
    assert full.text("hello") == ("hello", "", False)
    assert full.output("refund") == ("refund", "", False)
    assert full.request(b'{"a": 1}') == (b'{"a": 1}', "", False)
    assert full.user("jo") == "jo"
    assert full.note("broken") == "broken"
    assert full.text(None) == full.output(None) == (None, "", False)
    answer = StudentAnswer("1", "a", 0.9, "set", b"dd", b"vv")
    assert full.student(answer) is answer


def test_none_stores_nothing_that_can_be_read():
    none = privacy(store="none")
    assert none.text("hello") == none.output("hello") == (None, "", False)
    assert none.request(b"{}") == (b"", "", False)
    assert none.note("the upstream quotes the text") == ""
    assert none.user("jo") == privacy(store="hashed").user("jo")
    assert none.user("") == ""
    kept = none.student(StudentAnswer("1", "a", 0.9, "set", b"dd", b"vv"))
    assert kept is not None
    assert (kept.distribution, kept.vector) == (b"dd", b"")


@given(st.text(), st.text())
def test_hashes_are_equal_for_equal_texts_alone(one, other):
    hashed = privacy(store="hashed")
    assert hashed.text(one).text is None
    assert (hashed.text(one).hash == hashed.text(other).hash) == (one == other)
    assert (hashed.output(one).hash == hashed.output(other).hash) == (one == other)
    assert hashed.text(one).hash.startswith(HASHED)


def test_a_hash_depends_on_the_key_and_on_what_it_is_of():
    hashed, another = privacy(store="hashed"), privacy(bytes(32), store="hashed")
    found = {hashed.text("jo").hash, hashed.output("jo").hash, hashed.user("jo"), another.text("jo").hash}
    assert len(found) == 4
    assert hashed.request(b"jo").hash == hashed.text("jo").hash


def test_without_a_key_nothing_is_hashed():
    assert privacy(b"", store="none").user("jo") == ""
    with pytest.raises(ValueError, match="key"):
        privacy(b"", store="hashed")


def test_only_those_that_may_hash_need_a_key():
    assert not needs_key(PrivacySettings())
    assert needs_key(PrivacySettings(store="hashed"))
    assert needs_key(PrivacySettings.model_validate({"redact": [{"name": "email"}]}))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("write to jo.doe+x@mail.example.co.uk, please", "write to [email], please"),
        ("Grüße an jörg@bücher.example!", "Grüße an [email]!"),
        ("call +49 (0)30 123-45 67 now", "call [phone] now"),
        ("call 030/1234567 or 0151 23456789", "call [phone] or [phone]"),
        ("call (415) 555-2671", "call [phone]"),
        ("on 2024-10-12 at 12:30, order 1234567", "on 2024-10-12 at 12:30, order 1234567"),
        ("card 4111 1111 1111 1111 123", "card [credit_card] 123"),
        ("order 1234 4111-1111-1111-1111", "order 1234 [credit_card]"),
        ("4111111111111111", "[credit_card]"),
        ("4111111111111112", "4111111111111112"),
        ("IBAN DE89 3704 0044 0532 0130 00 is mine", "IBAN [iban] is mine"),
        ("GB82WEST12345698765432 FR1420041010050500013M02606", "[iban] [iban]"),
        ("from 192.168.0.1, not 999.1.1.1", "from [ipv4], not 999.1.1.1"),
        ("at 2001:db8::8a2e:370:7334 or fe80::1", "at [ipv6] or [ipv6]"),
        ("std::vector at 12:30:15", "std::vector at 12:30:15"),
        ("nothing here", "nothing here"),
        ("", ""),
    ],
)
def test_known_kinds(text, stored):
    found = EVERYTHING.text(text)
    assert found == (stored, "", stored != text)
    assert EVERYTHING.output(text) == found


def test_patterns_and_replacements_of_ones_own():
    rules = redacting({"pattern": r"(?i)\bcust-[0-9]+\b"}, {"name": "email", "replacement": r"\1<mail>"})
    assert rules.text("CUST-17 is jo@example.com").text == r"[redacted] is \1<mail>"


@given(st.text())
def test_redacting_twice_changes_nothing_more(text):
    once = EVERYTHING.text(text).text
    assert once is not None
    assert EVERYTHING.text(once).text == once


@given(st.text(), st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.(com|org)", fullmatch=True), st.text())
def test_an_address_never_survives(before, address, after):
    stored = EVERYTHING.text(f"{before} {address} {after}")
    assert stored.redacted
    assert address not in (stored.text or "")


def test_lone_surrogates_are_no_trouble():
    assert EVERYTHING.text("a\ud800b").text == "a\ud800b"
    assert "jo@example.com" not in (EVERYTHING.text("\ud800 jo@example.com").text or "")


@pytest.mark.parametrize(
    "text",
    ["1 " * 200_000, "1" * 400_000, "a.a@" * 100_000, "+1" * 200_000, "a:" * 200_000, "a@b.cc " * 60_000],
    ids=["groups", "digits", "almost addresses", "almost numbers", "almost ipv6", "addresses"],
)
def test_no_text_takes_long(text):
    started = time.perf_counter()
    EVERYTHING.text(text)
    assert time.perf_counter() - started < 1.0


def test_a_pattern_that_backtracks_elsewhere_does_not_here():
    rules = redacting({"pattern": r"(a+)+c"})
    started = time.perf_counter()
    assert rules.text("a" * 100_000 + "b").redacted is False
    assert time.perf_counter() - started < 1.0


def test_where_there_is_too_much_to_look_at_the_rest_is_redacted_unseen():
    stored = redacting("email").text("a@b.cc " * 5000 + "tail").text
    assert stored is not None
    assert "a@b.cc" not in stored
    assert "tail" not in stored


def test_a_whole_request_is_redacted_inside_its_strings():
    body = msgspec.json.encode(
        {"messages": [{"content": "I am jo@example.com"}], "n": 4111111111111111, "m": 5, "t": True}
    )
    stored = EVERYTHING.request(body)
    assert stored.redacted
    assert msgspec.json.decode(stored.body) == {
        "messages": [{"content": "I am [email]"}],
        "n": "[credit_card]",
        "m": 5,
        "t": True,
    }
    escaped = rb'{"content": "jo\u0040example.com"}'
    assert b"example" not in EVERYTHING.request(escaped).body
    clean = b'{"content": "hello"}'
    assert EVERYTHING.request(clean) == (clean, "", False)


@pytest.mark.parametrize("body", [b"jo@example.com", b'"\xff"', b"[" * 100_000])
def test_a_request_that_cannot_be_read_is_not_stored(body):
    assert EVERYTHING.request(body) == (b'"[redacted]"', "", True)


def test_a_user_that_would_be_redacted_is_hashed():
    assert EVERYTHING.user("customer-17") == "customer-17"
    assert EVERYTHING.user("jo@example.com") == privacy(store="none").user("jo@example.com")


@given(st.integers(min_value=10**11, max_value=10**17))
def test_luhn_finds_every_wrong_digit(payload):
    digits = next(f"{payload}{check}" for check in range(10) if passes_luhn(f"{payload}{check}"))
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    assert not passes_luhn(wrong)


def test_mod97_finds_a_swap():
    assert passes_mod97("DE89370400440532013000")
    assert passes_mod97("gb82west12345698765432")
    assert not passes_mod97("DE89370400440532013003")
    assert not passes_mod97("DE98370400440532013000")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"pattern": r"(a)\1"}, "RE2"),
        ({"pattern": r"(?<=a)b"}, "RE2"),
        ({"pattern": "a*"}, "matches where there is nothing"),
        ({"pattern": r"\b"}, "matches where there is nothing"),
        ({"pattern": ""}, "empty"),
        ({}, "either a name or a pattern"),
        ({"name": "email", "pattern": "x"}, "either a name or a pattern"),
        ({"name": "passport"}, "email"),
    ],
)
def test_bad_rules_are_refused(rule, says):
    with pytest.raises(ValidationError, match=says):
        PrivacySettings.model_validate({"redact": [rule]})


@pytest.mark.parametrize("store", ["hashed", "none"])
def test_what_a_mode_makes_impossible_is_refused(store):
    with pytest.raises(ValidationError, match=r"shadow\.floor.*privacy\.store is"):
        task(privacy={"store": store}, shadow={"floor": 0.1})
    with pytest.raises(ValidationError, match=r"retrain\.automatic.*privacy\.store is"):
        task(privacy={"store": store}, retrain={"automatic": True})
    quiet = task(privacy={"store": store})
    assert not quiet.samples
    assert not quiet.retrains


def test_redaction_and_retention_forbid_nothing():
    settings = task(privacy={"redact": [{"name": "email"}], "retention_days": 30}, shadow={"floor": 0.1})
    assert settings.samples
    assert settings.retrains


def test_a_secret_is_made_once_and_kept(tmp_path):
    path = tmp_path / "gateway" / "privacy.key"
    secret = load_secret(path, "privacy key")
    assert load_secret(path, "privacy key") == secret
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"short")
    with pytest.raises(StateError, match="no privacy key"):
        load_secret(path, "privacy key")
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="privacy key"):
        load_secret(tmp_path / "file" / "privacy.key", "privacy key")
