"""host.json, local.settings.json, bindings, connections and keys, without a host."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.azurite import DEFAULT_PORTS, connection_string
from sandbox.host.bindings import BindingError, HttpTrigger, TimerTrigger, bind, resolve
from sandbox.host.configuration import ConfigurationError, LocalSettings, parse_timespan, read_host_options, read_local_settings
from sandbox.host.connections import ConnectionSettingsError, StorageConnections
from sandbox.host.keys import HostKeys, load_or_create_keys
from sandbox.host.outputs import message_bodies
from sandbox.host.queues import decode_body, poison_queue_name
from sandbox.host.routing import Route, RouteError
from sandbox.host.runtime import Datum, IndexedFunction
from sandbox.host.supervision import Backoff
from sandbox.processes import REPOSITORY
from sandbox.up import sandbox_settings

if TYPE_CHECKING:
    from pathlib import Path


def _options(directory: Path, queues: dict[str, Any]) -> Any:
    (directory / "host.json").write_text(json.dumps({"version": "2.0", "extensions": {"queues": queues}}))
    return read_host_options(directory).queues


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:00:30", 30), ("00:00:00.500", 0.5), ("1.02:03:04", 93784), ("00:10", 600), ("23:59:59", 86399)]
)
def test_time_spans_are_those_of_dotnet(text: str, seconds: float) -> None:
    assert parse_timespan(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "five", "00:00:00:00", "-00:01:00"])
def test_what_is_no_time_span_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_timespan(text)


def test_absent_queue_options_are_the_documented_ones(tmp_path: Path) -> None:
    options = _options(tmp_path, {})
    assert (options.batch_size, options.new_batch_threshold, options.visibility_timeout, options.max_dequeue_count) == (
        16,
        8,
        0,
        5,
    )
    assert options.base64


def test_the_threshold_follows_the_batch_size(tmp_path: Path) -> None:
    assert _options(tmp_path, {"batchSize": 4}).new_batch_threshold == 2


@pytest.mark.parametrize(
    "queues",
    [{"batchSize": 33}, {"batchSize": 0}, {"batchSize": "8"}, {"maxDequeueCount": 0}, {"maxPollingInterval": "00:00:00.050"},
     {"visibilityTimeout": "soon"}, {"messageEncoding": "hex"}],
)  # fmt: skip
def test_a_queue_option_out_of_range_is_named_with_its_file(tmp_path: Path, queues: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"host\.json"):
        _options(tmp_path, queues)


def test_the_projects_own_files_are_read() -> None:
    options = read_host_options(REPOSITORY)
    assert options.function_timeout == 600
    assert options.queues.max_polling_interval <= 1
    example = read_local_settings(REPOSITORY / "local.settings.example.json")
    assert example.port == 7071
    assert sandbox_settings() == example.values


def test_a_variable_that_is_set_wins_over_the_settings_file() -> None:
    environment = {"A": "environment"}
    LocalSettings({"A": "file", "B": "file"}).apply(environment)
    assert environment == {"A": "environment", "B": "file"}


def test_a_missing_settings_file_holds_nothing_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert read_local_settings(tmp_path / "none.json").values == {}
    for text in ("{", "[]", '{"IsEncrypted": true}', '{"Values": {"A": 1}}'):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ConfigurationError, match=r"settings\.json"):
            read_local_settings(tmp_path / "settings.json")


def test_settings_are_replaced_in_bindings_and_a_missing_one_is_named() -> None:
    assert resolve({"type": "queueTrigger", "queueName": "%A%-%B%"}, {"A": "one", "B": "two"})["queueName"] == "one-two"
    with pytest.raises(BindingError, match="set the app setting B"):
        resolve({"queueName": "%A%-%B%"}, {"A": "one"})


def _function(*bindings: dict[str, Any]) -> IndexedFunction:
    return IndexedFunction("sample", "id", bindings, None)


def test_bindings_have_the_hosts_defaults() -> None:
    trigger = bind(_function({"type": "httpTrigger", "name": "req", "direction": "IN"}), {}).trigger
    assert trigger == HttpTrigger("req", "sample", None, "function")
    timer = bind(_function({"type": "timerTrigger", "name": "t", "direction": "IN", "schedule": "*/5 * * * * *"}), {}).trigger
    assert isinstance(timer, TimerTrigger)
    assert not timer.use_monitor


@pytest.mark.parametrize(
    ("binding", "reason"),
    [
        ({"type": "queueTrigger", "queueName": "Not_Valid"}, "not a valid queue name"),
        ({"type": "queueTrigger", "queueName": "a--b"}, "not a valid queue name"),
        ({"type": "timerTrigger", "schedule": "often"}, "not NCRONTAB"),
        ({"type": "blobTrigger"}, "not supported"),
        ({"type": "queue"}, "exactly one trigger"),
    ],
)
def test_a_binding_that_cannot_work_is_refused_with_its_reason(binding: dict[str, Any], reason: str) -> None:
    with pytest.raises(BindingError, match=reason):
        bind(_function({"name": "x", "direction": "IN", **binding}), {})


async def test_connections_are_strings_emulators_or_identities() -> None:
    connections = StorageConnections(
        {
            "Emulator": "UseDevelopmentStorage=true",
            "AzureWebJobsOther": connection_string(1, 2, 3),
            "Account__accountName": "contoso",
            "Uris__queueServiceUri": "https://contoso.queue.example",
            "Uris__clientId": "00000000-0000-0000-0000-000000000001",
        }
    )
    assert connections.queues("Emulator").url.startswith(f"http://127.0.0.1:{DEFAULT_PORTS[1]}/devstoreaccount1")
    assert connections.queues("Other").url.startswith("http://127.0.0.1:2/")
    assert connections.tables("Other").url.startswith("http://127.0.0.1:3/")
    assert connections.queues("Account").url.startswith("https://contoso.queue.core.windows.net")
    assert connections.tables("Account").url.startswith("https://contoso.table.core.windows.net")
    assert connections.queues("Uris").url.startswith("https://contoso.queue.example")
    with pytest.raises(ConnectionSettingsError, match="Uris__tableServiceUri"):
        connections.tables("Uris")
    with pytest.raises(ConnectionSettingsError, match="set Nothing"):
        connections.queues("Nothing")
    await connections.close()


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"
    keys = load_or_create_keys(path)
    assert load_or_create_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.master != keys.default
    assert [item.name for item in path.parent.iterdir()] == ["keys.json"]
    path.write_text("{}")
    with pytest.raises(ConfigurationError):
        load_or_create_keys(path)


def test_a_function_key_opens_its_own_function() -> None:
    keys = HostKeys("m", "d", {"one": "k"})
    assert keys.permit("k", "function", "one")
    assert not keys.permit("k", "function", "two")
    assert not keys.permit("d", "admin", "one")
    assert not keys.permit("", "function", "one")


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("links/{id:guid}", "/links/6f9619ff-8b86-d011-b42d-00c04fc964ff", {"id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}),
        ("links/{id:guid}", "/links/x", None),
        ("files/{*path}", "/files/a/b%20c", {"path": "a/b c"}),
        ("files/{*path}", "/files", {}),
        ("{a}-{b}", "/x-y", {"a": "x", "b": "y"}),
        ("page/{n:int=1}", "/page", {"n": "1"}),
        ("page/{n:range(1,5)}", "/page/5", {"n": "5"}),
        ("page/{n:range(1,5)}", "/page/6", None),
        ("page/{n:length(2)}", "/page/abc", None),
        ("page/{n:minlength(2):alpha}", "/page/abc", {"n": "abc"}),
        ("page/{n:bool}", "/page/TRUE", {"n": "TRUE"}),
        ("page/{n}", "/page/a%2Fb", {"n": "a/b"}),
        ("page", "/page/", {}),
        ("page", "/pages", None),
    ],
)
def test_route_templates_match_as_in_aspnet(template: str, path: str, parameters: dict[str, str] | None) -> None:
    assert Route.compile(template).match(path) == parameters


@pytest.mark.parametrize("template", ["a/{b", "a/{b:unknown}", "a/{b:range(x)}", "a/}"])
def test_a_malformed_route_is_refused(template: str) -> None:
    with pytest.raises(RouteError):
        Route.compile(template)


def test_polls_grow_apart_and_come_back_together_after_a_hit() -> None:
    backoff = Backoff(0.1, 5.0, random.Random(1))  # noqa: S311 - repeatable, not secret
    delays = [backoff.next_delay() for _ in range(12)]
    assert delays[0] == 0.1
    assert delays[:6] == sorted(delays[:6])
    assert delays[-1] == 5.0
    backoff.hit()
    assert backoff.next_delay() == 0.1


@pytest.mark.parametrize(
    ("datum", "bodies"),
    [
        (Datum("ä", "string"), ["ä".encode()]),
        (Datum(b"\x00", "bytes"), [b"\x00"]),
        (Datum('["a", "b"]', "json"), [b"a", b"b"]),
        (Datum('{"id": "1", "body": "x"}', "json"), [b'{"id": "1", "body": "x"}']),
        (Datum(None, None), []),
    ],
)
def test_a_list_is_one_message_per_item(datum: Datum, bodies: list[bytes]) -> None:
    assert list(message_bodies(datum)) == bodies


def test_bodies_are_decoded_strictly_and_bad_text_leniently() -> None:
    assert decode_body("w6Q=", base64_encoded=True) == "ä"
    assert decode_body("/w==", base64_encoded=True) == "\ufffd"
    assert decode_body("plain", base64_encoded=False) == "plain"
    with pytest.raises(ValueError, match="not base64"):
        decode_body("pl ain", base64_encoded=True)


def test_poison_queues_end_somewhere() -> None:
    assert poison_queue_name("work") == "work-poison"
    assert poison_queue_name("work-poison") is None
    assert poison_queue_name("w" * 57) is None
