"""`tutelage forget`, over every store that may hold an exchange: afterwards none does, and none gets it back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from core.archive import Archive
from core.archiver import Archiver
from core.ids import mint
from core.journal import Journal
from core.ledger import Alarm, GoldenExample, GoldenSet, Ledger, Review, Severity, Why
from core.locallog import LogWriter
from core.privacy import Privacy
from core.records import (
    Answerer,
    Comparison,
    Exchange,
    Feedback,
    Kind,
    Outcome,
    Reason,
    StudentAnswer,
    encode,
)
from core.redis_server import start_redis
from core.secret_file import load_secret
from core.settings import PrivacySettings, Settings, load_settings
from core.shipper import Shipper
from monitoring.rules import rules_of
from monitoring.snapshot import NAME, encode_state, read_snapshot
from monitoring.state import TaskState
from training.forgetting import DataKeeper
from training.runs.label_recent import ASKED_FILE
from training.runs.prepare import DATA_FILE
from training.traffic import Sample
from tutelage.cli import build_app

SECRET = "a secret of jo's, which nobody may keep"
ANSWER = StudentAnswer("1", "refund", 0.9, "set", b"", b"")


class House:
    """A state folder in which something of an exchange lies everywhere."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.config = folder / "tutelage.yaml"
        teacher = {"base_url": "http://127.0.0.1:9/v1", "model": "teacher", "data_may_leave": True}
        document = {
            "state": str(folder / "state"),
            "redis": {"url": redis_url},
            "tasks": {"desk": {"labels": ["refund", "order"], "teacher": teacher}},
        }
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")
        self.settings: Settings = load_settings(self.config)
        self.ledger = Ledger(self.settings.ledger_url)
        self.ledger.migrate()
        self.archive = Archive(self.settings.archive_url, self.ledger)
        self.writers = [self._writer(self.settings.log_folder), self._writer(self.settings.shadow_log_folder)]

    @staticmethod
    def _writer(folder: Path) -> LogWriter:
        return LogWriter(folder, mint("log"), 1 << 20, 1 << 30)

    def exchange(self, text: str, user: str, **values) -> Exchange:
        record = Exchange(
            mint(), "desk", 1_750_000_000.0, Answerer.STUDENT, Reason.CHAMPION, 200, text=text, user=user, **values
        )
        self.writers[0].append(encode(record))
        return record

    def compare(self, of: Exchange) -> Comparison:
        record = Comparison(
            mint("cmp"),
            "desk",
            of.id,
            of.at,
            of.at,
            Outcome.ANSWERED,
            0.1,
            Answerer.STUDENT,
            ANSWER,
            "order",
            text=of.text,
        )
        self.writers[1].append(encode(record))
        return record

    def say(self, of: str) -> None:
        record = Feedback(mint("fb"), "desk", of, "refund", 1_750_000_000.0, comment=SECRET)
        self.writers[0].append(encode(record))

    def carry(self) -> None:
        """Ship and archive everything that is in the logs."""
        asyncio.run(self._carry())

    async def _carry(self) -> None:
        journal = Journal.connect(self.settings.redis.address)
        folders = (self.settings.log_folder, self.settings.shadow_log_folder)
        shippers = [Shipper(folder, journal, poll_seconds=0.01) for folder in folders]
        archiver = Archiver(journal, self.archive, self.ledger, flush_seconds=0.05)
        workers: list[Shipper | Archiver] = [*shippers, archiver]
        working = [asyncio.create_task(one.run()) for one in workers]
        for one in workers:
            assert await one.drain(20)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        await journal.close()

    def teach(self, *exchanges: Exchange) -> Path:
        """A run whose data holds these exchanges."""
        run = mint("run")
        assert self.ledger.runs.begin(run, "desk", champion="1", step="data", at=0.0, about={})
        folder = self.settings.state / "runs" / run
        folder.mkdir(parents=True)
        samples = [{"example": {"text": one.text}, "exchange": one.id, "at": one.at} for one in exchanges]
        files = [{"example": {"text": "from a file", "label": "refund"}}]
        (folder / DATA_FILE).write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in (*samples, *files)))
        asked = [{"exchange": one.id, "at": one.at, "text": one.text, "student_label": "refund"} for one in exchanges]
        (folder / ASKED_FILE).write_bytes(msgspec.json.encode({"exchanges": asked}) + b"\n")
        (folder / "report.html").write_text("<body><main><h1>Promoted</h1></main></body>", encoding="utf-8")
        return folder

    def watch(self, *comparisons: Comparison) -> None:
        """A monitor's state and an alarm that quote these comparisons."""
        state = TaskState("desk", champion="1")
        rules = rules_of(self.settings.task("desk"))
        state.begin("1", rules, {})
        for comparison in comparisons:
            state.observe(comparison, rules)
        assert self.ledger.snapshots.save("desk", NAME, after=0, position={}, state=encode_state(state), at=0.0)
        examples = [{"exchange": one.exchange, "text": one.text} for one in comparisons]
        self.ledger.alarms.raise_alarm(
            Alarm(
                "al_1", "desk", "1", "s", "s", Severity.WARNING, 0.0, 0.0, 0.0, retrain=False, labels=(),
                evidence={"examples": examples, "baseline": 0.9}, first_exchange="",
            )
        )  # fmt: skip

    def ask_people(self, *comparisons: Comparison) -> None:
        """A review queue that holds these comparisons, the first of them judged."""
        self.ledger.reviews.add(
            [
                Review(
                    f"rv_{one.exchange}", "desk", one.exchange, Why.DISAGREEMENT, "1", "refund", "order", 0.9, None,
                    probability=0.0, drawn_from=0.0, cluster="", text=one.text or "", created=0.0,
                )
                for one in comparisons
            ]
        )  # fmt: skip
        assert self.ledger.reviews.judge(
            f"rv_{comparisons[0].exchange}", "order", actor="cli:al", note=SECRET, at=1_750_000_000.0
        )

    def ask_daily(self, *exchanges: Exchange) -> None:
        """A golden set that was taken from these exchanges."""
        texts = [GoldenExample(at, one.text or "", exchange=one.id) for at, one in enumerate(exchanges)]
        assert self.ledger.golden.freeze(GoldenSet("desk", 1, "traffic", "t", "", 0.0), texts)

    def forget(self, *arguments: str) -> dict[str, int]:
        result = CliRunner().invoke(
            build_app(), ["forget", *arguments, "--yes", "--json", "--config", str(self.config)]
        )
        assert result.exit_code == 0, (result.output, result.exception)
        told = json.loads(result.stdout)
        assert told["complete"]
        removed: dict[str, int] = told["removed"]
        return removed

    def holding(self, text: str) -> list[str]:
        """Files of the state folder, and streams, that hold a text. Parquet is compressed, so it is read."""
        found = [
            str(path)
            for path in self.settings.state.rglob("*")
            if path.is_file() and path.suffix != ".parquet" and text.encode() in path.read_bytes()
        ]
        for kind in Kind:
            rows = self.archive.query("SELECT * FROM records", "desk", kind).to_pylist()
            found += [kind.value for row in rows if any(text in str(value) for value in row.values())]
        return found + asyncio.run(self._streams_holding(text))

    async def _streams_holding(self, text: str) -> list[str]:
        journal = Journal.connect(self.settings.redis.address)
        try:
            return [
                stream
                for stream in await journal.streams()
                for entry in await journal.read(stream, count=1000)
                if text.encode() in entry.batch
            ]
        finally:
            await journal.close()

    def close(self) -> None:
        for writer in self.writers:
            writer.close()
        self.ledger.close()


@pytest.fixture
def house(tmp_path, redis_url):
    house = House(tmp_path, redis_url)
    yield house
    house.close()


@pytest.fixture
def whole_house(tmp_path, free_port):
    """One whose Redis keeps its files in the state folder."""
    with start_redis(tmp_path / "state" / "redis", free_port) as server:
        house = House(tmp_path, server.url)
        yield house
        house.close()


def test_nothing_of_a_user_is_left_anywhere(whole_house):
    house = whole_house
    gone = house.exchange(SECRET, "jo", completion_id="chatcmpl-1")
    kept = house.exchange("another's text", "bo")
    comparisons = [house.compare(gone), house.compare(kept)]
    house.say("chatcmpl-1")
    house.carry()
    late = house.exchange(f"{SECRET}, again", "jo")
    run = house.teach(gone, kept)
    house.watch(*comparisons)
    house.ask_people(*comparisons)
    house.ask_daily(gone, kept)
    assert len(house.holding(SECRET)) > 8

    removed = house.forget("--user", "jo")

    assert removed == {
        "records in logs": 4,
        "records in the journal": 3,
        "examples of runs": 1,
        "examples of the monitor": 2,  # one waits for the review queue as well
        "examples of alarms": 1,
        "reviews": 1,
        "texts of golden sets": 1,
        "examples of templates": 0,
        "archived comparisons": 1,
        "archived feedback": 1,
        "archived exchanges": 1,
    }
    assert house.holding(SECRET) == []
    assert len(house.holding("another's text")) > 6
    assert set(house.forget("--user", "jo").values()) == {0}

    house.compare(late)  # a shadow worker that was at it
    house.carry()
    assert [name for name in house.holding(SECRET) if "shadow-log" not in name] == []
    assert house.archive.exchanges("desk").column("id").to_pylist() == [kept.id]
    assert house.archive.comparisons("desk").column("exchange").to_pylist() == [kept.id]

    assert [one.examples for one in house.ledger.forgotten.deletions(run.name)] == [1]
    assert "Data deleted: examples of this run are no longer kept: 1 on" in (run / "report.html").read_text()
    samples = [msgspec.json.decode(line, type=Sample) for line in (run / DATA_FILE).read_bytes().splitlines()]
    assert [sample.exchange for sample in samples] == [kept.id, ""]
    snapshot = read_snapshot(house.ledger, "desk")
    assert snapshot is not None
    assert [example.exchange for example in snapshot[0].versions["1"].examples] == [kept.id]
    assert snapshot[0].versions["1"].number == 2  # numbers stay
    assert [one.exchange for one in house.ledger.reviews.find("desk")] == [kept.id]
    assert house.ledger.reviews.outbox(0) == []
    entry = next(entry for entry in house.ledger.audit_trail() if entry.action == "forget")
    assert '"jo"' not in json.dumps(entry.detail)
    assert gone.id not in json.dumps(entry.detail)


def test_the_user_may_come_back(house):
    house.exchange(SECRET, "jo")
    house.forget("--user", "jo")
    house.carry()
    later = msgspec.structs.replace(house.exchange("the next day", "jo"), id=mint(), at=9e9)
    house.writers[0].append(encode(later))
    house.carry()
    assert house.archive.exchanges("desk").column("id").to_pylist() == [later.id]


@pytest.mark.parametrize("by_completion", [False, True])
def test_one_exchange_goes_with_what_is_about_it(house, by_completion):
    gone, kept = house.exchange(SECRET, "jo", completion_id="chatcmpl-1"), house.exchange("and this", "jo")
    house.compare(gone)
    house.say(gone.id)
    house.carry()
    removed = house.forget("--exchange", "chatcmpl-1" if by_completion else gone.id)
    assert [removed[f"archived {kind.value}"] for kind in Kind] == [1, 1, 1]
    assert house.holding(SECRET) == []
    assert house.archive.exchanges("desk").column("id").to_pylist() == [kept.id]


def test_a_hashed_user_is_found_by_name(house):
    key = load_secret(house.settings.privacy_key, "privacy key")
    hashed = Privacy(PrivacySettings(store="hashed"), key).user("jo")
    house.exchange(SECRET, hashed)
    house.carry()
    assert house.forget("--user", "jo", "--task", "desk")["archived exchanges"] == 1
    assert house.holding(hashed) == []


def test_what_broke_off_is_finished_by_the_next_call(house, monkeypatch):
    gone = house.exchange(SECRET, "jo")
    house.compare(gone)
    house.carry()
    house.teach(gone)
    with monkeypatch.context() as patched:
        patched.setattr(Archive, "write_file", lambda *_: pytest.fail("killed"))
        patched.setattr("tutelage.forgetting.remove_examples", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        arguments = ["forget", "--user", "jo", "--yes", "--config", str(house.config)]
        assert CliRunner().invoke(build_app(), arguments).exit_code != 0
    assert house.holding(SECRET) != []
    removed = house.forget("--user", "jo")
    assert (removed["archived exchanges"], removed["examples of runs"]) == (1, 1)
    assert house.holding(SECRET) == []


def test_where_redis_is_away_it_says_what_is_missing(house, free_port):
    house.exchange(SECRET, "jo")
    document = yaml.safe_load(house.config.read_text())
    house.config.write_text(yaml.safe_dump(document | {"redis": {"url": f"redis://127.0.0.1:{free_port}/0"}}))
    arguments = ["forget", "--user", "jo", "--yes", "--json", "--config", str(house.config)]
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code != 0
    assert "run this again" in str(result.exception)
    assert not json.loads(result.stdout)["complete"]
    assert house.holding(SECRET) == []  # what could be reached is done


@pytest.mark.parametrize("arguments", [[], ["--exchange", "ex_1", "--user", "jo"], ["--user", "jo", "--json"]])
def test_what_is_not_clear_is_refused(house, arguments):
    result = CliRunner().invoke(build_app(), ["forget", *arguments, "--config", str(house.config)])
    assert result.exit_code != 0


def test_a_person_is_asked_first(house):
    house.exchange(SECRET, "jo")
    result = CliRunner().invoke(build_app(), ["forget", "--user", "jo", "--config", str(house.config)], input="n\n")
    assert "Forget 1 exchange that this user has asked for, for good?" in result.output
    assert house.holding(SECRET) != []


def test_a_trainer_elsewhere_clears_its_own_runs(house):
    gone, kept = house.exchange(SECRET, "jo"), house.exchange("and this", "bo")
    run = house.teach(gone, kept)
    now = 1_750_000_000.0
    keeper = DataKeeper(house.settings, house.ledger, clock=lambda: now)
    keeper.tick()
    assert SECRET in (run / DATA_FILE).read_text()
    house.ledger.forgotten.add(exchanges=[gone.id])
    keeper.tick()
    assert SECRET not in (run / DATA_FILE).read_text() + (run / ASKED_FILE).read_text()
    assert "and this" in (run / DATA_FILE).read_text()
    document = yaml.safe_load(house.config.read_text())
    document["tasks"]["desk"]["privacy"] = {"retention_days": 1}
    house.config.write_text(yaml.safe_dump(document))
    later = DataKeeper(load_settings(house.config), house.ledger, clock=lambda: now + 2 * 86_400)
    later.tick()
    assert (run / DATA_FILE).read_bytes() == b'{"example":{"text":"from a file","label":"refund"}}\n'
    assert [one.cause for one in house.ledger.forgotten.deletions(run.name)] == ["forgotten", "retention"]
