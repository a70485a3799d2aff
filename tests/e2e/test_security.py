"""Who gets in and what they may do: the real client and server, real certificates and tokens, nothing restarted."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import grpc
import pytest
import typer
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from genie_cli import app
from genie_client import AsyncClient, Client, GenieError, ModelError, ServerAccessError, Tls
from genie_client.connection import security_for
from genie_client.errors import ServerError
from genie_client.health import ask_health
from genie_service import tokens as token_files
from genie_service.server import GenieServer
from genie_service.settings import load_settings
from genie_service.tokens import Scope, add_token, read_tokens
from tests.factories.bundles import make_nano_bundle
from tests.support.certificates import Authority
from tests.support.service_messages import video
from tests.support.service_server import Running, serving

Start = Callable[..., Running]


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GENIE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_nano_bundle(folder / "alpha", seed=1)
    make_nano_bundle(folder / "beta", seed=2)
    return folder


@pytest.fixture
def start(models: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda **flags: stack.enter_context(serving(models, default_model="alpha", **flags))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def _tls(authority: Authority) -> dict[str, Path]:
    files = authority.server()
    return {"tls_certificate": files.certificate, "tls_key": files.key}


# TLS


def test_labels_travel_encrypted_and_nobody_else_gets_through(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    address = start(**_tls(authority)).server.address
    with Client(address, tls=Tls(authority.ca)) as client:
        assert len(client.label(video(5), fps=10).code) == 5
    with Client(address, timeout_s=5) as plain, pytest.raises(ServerError):
        plain.models()
    stranger = Authority(tmp_path / "stranger")
    for tls in (True, Tls(stranger.ca)):
        with Client(address, tls=tls, timeout_s=5) as client, pytest.raises(ServerAccessError, match="secure"):
            client.models()

    async def main() -> int:
        async with AsyncClient(address, tls=Tls(authority.ca)) as client:
            return len((await client.label(video(5), fps=10)).code)

    assert asyncio.run(main()) == 5


def test_a_server_that_asks_for_certificates_knows_its_clients(
    start: Start, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genie_service")
    address = start(**_tls(authority), tls_client_ca=authority.ca).server.address
    with Client(address, tls=authority.client("robot-7")) as client:
        assert [model.name for model in client.models()] == ["alpha", "beta"]
    assert "ListModels code=OK" in caplog.text
    assert "by='robot-7'" in caplog.text
    stranger = Authority(tmp_path / "stranger").client("robot-7")
    for tls in (Tls(authority.ca), Tls(authority.ca, stranger.certificate, stranger.key)):
        with Client(address, tls=tls, timeout_s=5) as client, pytest.raises(ServerError):
            client.models()


def test_certificates_are_renewed_without_a_restart(start: Start, authority: Authority, tmp_path: Path) -> None:
    address = start(**_tls(authority)).server.address
    with Client(address, tls=Tls(authority.ca)) as old:
        old.models()
        other = Authority(tmp_path / "other")
        renewed, files = other.server(), authority.server()
        files.key.write_text("half written")
        with Client(address, tls=Tls(authority.ca)) as client:
            client.models()  # what cannot be used changes nothing
        shutil.copy(renewed.certificate, files.certificate)
        shutil.copy(renewed.key, files.key)
        with Client(address, tls=Tls(other.ca)) as client:
            client.models()
        with Client(address, tls=Tls(authority.ca), timeout_s=5) as client, pytest.raises(ServerAccessError):
            client.models()
        old.models()  # connections that there are go on


def test_files_that_cannot_be_used_stop_the_start(models: Path, authority: Authority, tmp_path: Path) -> None:
    files, other = authority.server(), Authority(tmp_path / "other").server()
    for flags, words in (
        ({"tls_certificate": files.certificate}, "go together"),
        ({"tls_client_ca": authority.ca}, "needs --tls-certificate"),
        ({"tls_certificate": files.certificate, "tls_key": tmp_path / "absent"}, "absent: No such file"),
        ({"tls_certificate": files.certificate, "tls_key": other.key}, "expected a certificate and its key"),
        ({**_tls(authority), "tls_client_ca": files.key}, "expected certificates, got none"),
        ({"tokens": tmp_path / "absent"}, "tokens file"),
    ):
        with pytest.raises(GenieError, match=words):
            _start_and_stop(models, **flags)


def _start_and_stop(models: Path, **flags: Any) -> str:
    async def main() -> str:
        settings = load_settings({"models": models, "default_model": "alpha", "port": 0, **flags})
        server = await GenieServer.start(settings)
        await server.drain(0)
        return server.address

    return asyncio.run(main())


def test_only_loopback_is_listened_on_without_tls(
    models: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "robots.example.org"):
        with pytest.raises(GenieError, match=r"without TLS: give --tls-certificate .* or --insecure"):
            _start_and_stop(models, host=host)
    assert _start_and_stop(models, host="127.0.0.1")
    assert _start_and_stop(models, host="0.0.0.0", insecure=True).startswith("0.0.0.0:")
    assert "without TLS" in caplog.text
    assert "without tokens" in caplog.text
    caplog.clear()
    assert _start_and_stop(models, host="0.0.0.0", **_tls(authority)).startswith("0.0.0.0:")
    assert "without TLS" not in caplog.text


# Tokens


def _allowed(client: Client) -> dict[str, bool]:
    """What the server lets this client do."""
    calls: dict[str, Callable[[], object]] = {
        "list": client.models,
        "statistics": client.statistics,
        "label": lambda: client.label(video(3), fps=10),
        "simulate": lambda: client.rollout(video(1)[0], [1]),
        "load": lambda: client.load_model("beta"),
        "unload": lambda: client.unload_model("beta"),
    }
    found = {}
    for name, call in calls.items():
        try:
            call()
            found[name] = True
        except ServerAccessError:
            found[name] = False
    return found


def test_each_token_does_what_it_is_for(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    tokens = {scope: add_token(file, scope, [scope]) for scope in Scope}
    address = start(tokens=file).server.address
    known = {"list": True, "statistics": True, "label": False, "simulate": False, "load": False, "unload": False}
    for scope, more in ((Scope.LABEL, ["label"]), (Scope.SIMULATE, ["simulate"]), (Scope.ADMIN, ["load", "unload"])):
        with Client(address, token=tokens[scope]) as client:
            assert _allowed(client) == known | dict.fromkeys(more, True)
    for token in ("", "genie_wrong", tokens[Scope.ADMIN] + "x", tokens[Scope.ADMIN][:-1], "é"):
        with Client(address, token=token) as client:
            assert not any(_allowed(client).values()) if token.isascii() else True
    assert ask_health(address) == "SERVING"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_refusals_have_their_codes_and_say_what_to_do(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    token = add_token(file, "anna", [Scope.LABEL])
    address = start(tokens=file).server.address
    with Client(address) as client, pytest.raises(ServerAccessError, match="GENIE_CLIENT_TOKEN_FILE"):
        client.models()
    with (
        Client(address, token=token) as client,
        pytest.raises(ServerAccessError, match=r"'anna' is for label; .*UnloadModel needs admin"),
    ):
        client.unload_model("beta")

    async def main() -> int:
        async with AsyncClient(address, token=token) as client:
            with pytest.raises(ServerAccessError, match="needs simulate"):
                await client.rollout(video(1)[0], [1])
            return len((await client.label(video(5), fps=10)).code)

    assert asyncio.run(main()) == 5


def test_tokens_come_and_go_without_a_restart(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens.toml"
    first = add_token(file, "first", [Scope.LABEL])
    today = datetime.date(2026, 7, 1)
    standing = SimpleNamespace(datetime=Mock(now=lambda _: datetime.datetime(2026, 7, 1, 12)), UTC=datetime.UTC)
    monkeypatch.setattr(token_files, "datetime", standing)  # it never is midnight between here and the server
    late = add_token(file, "late", [Scope.LABEL], today - datetime.timedelta(days=1))
    on_time = add_token(file, "on time", [Scope.LABEL], today)
    address = start(tokens=file).server.address
    second = add_token(file, "second", [Scope.LABEL])

    def may(token: str) -> bool:
        with Client(address, token=token) as client:
            return _allowed(client)["list"]

    assert [may(token) for token in (first, late, on_time, second)] == [True, False, True, True]
    before = file.read_text()
    file.write_text("[[token]\n")
    assert may(first)
    assert "the tokens of before stay in force" in caplog.text
    file.write_text("\n".join(before.split("\n[[token]]")[0:1]))
    assert not may(first)


def test_the_default_model_goes_for_a_known_admin_only(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    admin = add_token(file, "admin", [Scope.ADMIN])
    with Client(start(tokens=file).server.address, token=admin) as client:
        assert client.unload_model("alpha").state == "unloaded"
    with Client(start().server.address) as client, pytest.raises(ModelError, match="token for admin"):
        client.unload_model("alpha")


def test_what_admins_do_and_who_is_refused_is_noted(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genie_service.audit")
    file = tmp_path / "tokens.toml"
    admin, user = add_token(file, "root", [Scope.ADMIN]), add_token(file, "guest", [Scope.LABEL])
    address = start(tokens=file).server.address
    with Client(address, token=admin) as client:
        client.load_model("beta")
        with pytest.raises(ModelError):
            client.load_model('absent\nLoadModel by="root"')
        client.unload_model("beta")
    with Client(address, token=user) as client, pytest.raises(ServerAccessError):
        client.load_model("beta")
    with Client(address) as client, pytest.raises(ServerAccessError):
        client.models()
    noted = [record.getMessage() for record in caplog.records if record.name == "genie_service.audit"]
    assert len(noted) == 5
    assert noted[0].startswith('LoadModel by="root" peer=ipv4:127.0.0.1:')
    assert noted[0].endswith('subject="beta" outcome="done"')
    assert 'subject="absent\\nLoadModel by=\\"root\\"" outcome="failed: there is no model' in noted[1]
    assert "\n" not in noted[1]
    assert noted[2].startswith('UnloadModel by="root"')
    assert noted[3].startswith('refused by="guest"')
    assert 'subject="/genie_api.v1.ModelService/LoadModel"' in noted[3]
    assert noted[4].startswith("refused by=anybody")
    assert not [line for line in noted if admin in line or user in line]


def test_the_command_makes_a_token_that_is_kept_as_a_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens.toml"

    def genie(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app.main(["token", str(file), *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    code, out, _ = genie("--name", "anna", "--scope", "label", "--expires", "2031-02-03")
    token = out.strip()
    assert code == 0
    assert token.startswith("genie_")
    assert len(token) > 40
    assert token not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    entry = read_tokens(file)[0]
    assert (entry.name, entry.scopes, entry.expires) == ("anna", {"label"}, datetime.date(2031, 2, 3))
    assert genie("--name", "anna")[0] == 2
    assert "expected label, simulate, admin" in genie("--name", "bob", "--scope", "root")[2]
    assert genie("--name", 'odd "name" \\ of é')[0] == 0
    assert [entry.name for entry in read_tokens(file)] == ["anna", 'odd "name" \\ of é']
    file.chmod(0o666)
    with pytest.raises(GenieError, match="chmod 600"):
        read_tokens(file)


# The client's side


def test_commands_find_tls_and_token_in_the_environment_or_a_file(
    start: Start,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, secret = tmp_path / "tokens.toml", tmp_path / "secret"
    secret.write_text(add_token(file, "anna", [Scope.LABEL]) + "\n")
    secret.chmod(0o600)
    address = start(**_tls(authority), tokens=file).server.address

    def models() -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            app.main(["models", "--server", address])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    monkeypatch.setenv("GENIE_CLIENT_CA", str(authority.ca))
    assert models()[0] == 2
    monkeypatch.setenv("GENIE_CLIENT_TOKEN_FILE", str(secret))
    assert models()[0] == 0
    assert ask_health(address) == "SERVING"
    secret.chmod(0o644)
    assert "chmod 600" in models()[1]
    secret.chmod(0o600)
    monkeypatch.delenv("GENIE_CLIENT_CA")
    monkeypatch.delenv("GENIE_CLIENT_TOKEN_FILE")
    config = tmp_path / "config" / "genie" / "client.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[servers."{address}"]\nca = "{authority.ca}"\ntoken_file = "{secret}"\n')
    assert models()[0] == 0
    monkeypatch.setenv("GENIE_CLIENT_TOKEN", "genie_wrong")  # the environment goes first
    assert models()[0] == 2
    monkeypatch.delenv("GENIE_CLIENT_TOKEN")
    config.write_text(f'[servers."{address}"]\npassword = "x"\n')
    assert "got password, expected tls" in models()[1]


def test_no_command_takes_a_secret_that_the_list_of_processes_would_show() -> None:
    files = {"--tokens", "--tls-key"}
    group: Any = typer.main.get_command(app.build_app())
    commands = [(command, typer.Context(command)) for command in group.commands.values()]
    names = {name for command, context in commands for option in command.get_params(context) for name in option.opts}
    assert files <= names
    assert not [n for n in names - files if re.search("token|secret|password|credential|key$", n)]


def test_a_token_never_crosses_a_network_in_clear_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_CLIENT_TOKEN", "genie_secret")
    for address in ("robots.example.org:50051", "192.0.2.1:50051", "dns:///robots.example.org:50051"):
        with pytest.raises(GenieError, match="clear text"):
            Client(address)
        assert security_for(address, tls=True).token == "genie_secret"
    for address in ("127.0.0.1:1", "[::1]:1", "localhost:1", "ipv4:127.0.0.1:1"):
        assert security_for(address).token == "genie_secret"
    assert "secret" not in repr(security_for("localhost:1"))
    with pytest.raises(GenieError, match="got one without the other"):
        Tls(certificate=Path("x"))


# The models folder


@pytest.mark.parametrize("name", ["..", "../alpha", "/etc", "a/../../etc", ".", "alpha/", "\0", "%2e%2e", ".hidden"])
def test_no_name_leads_out_of_the_folder(start: Start, models: Path, name: str) -> None:
    shutil.copytree(models / "alpha", models / ".hidden", dirs_exist_ok=True)
    with Client(start(preload="none").server.address) as client:
        for call in (client.model, client.load_model, client.unload_model):
            with pytest.raises(GenieError, match=r"no model|expected 'models/'"):
                call(name)


def test_links_are_followed_only_if_told(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hosted"
    make_nano_bundle(folder / "alpha")
    (folder / "linked").symlink_to(models / "beta")
    shutil.copytree(models / "beta", folder / "inside")
    (folder / "inside" / "card.md").unlink()
    (folder / "inside" / "card.md").symlink_to("/etc/passwd")
    with serving(folder, default_model="alpha") as genie, Client(genie.server.address) as client:
        found = {model.name: model for model in client.models()}
        assert {name: model.state for name, model in found.items()} == {
            "alpha": "ready",
            "inside": "failed",
            "linked": "failed",
        }
        assert "inside/card.md is a link" in found["inside"].state_message
        assert "linked is a link" in found["linked"].state_message
        with pytest.raises(ModelError, match="is a link"):
            client.load_model("linked")
    with serving(folder, default_model="alpha", follow_links=True) as genie, Client(genie.server.address) as client:
        assert client.load_model("linked").state == "ready"


def test_no_path_of_the_server_reaches_a_client(tmp_path: Path) -> None:
    folder = tmp_path / "here" / "hosted"
    for name in ("alpha", "torn", "odd", "missing"):
        make_nano_bundle(folder / name)
    (folder / "odd" / "config.json").write_text("{}")
    (folder / "alpha" / "alignments").mkdir()
    (folder / "alpha" / "alignments" / "bad.safetensors").write_bytes(b"not one")
    weights = folder / "torn" / "lam.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    said: list[str] = []
    with serving(folder, default_model="alpha") as genie, Client(genie.server.address) as client:
        (folder / "missing" / "dynamics.safetensors").chmod(0)
        for name in ("torn", "odd", "missing", "absent"):
            try:
                client.load_model(name)
            except GenieError as error:
                said.append(str(error))
        for options in ({"alignment": "bad"}, {"alignment": "absent"}):
            with pytest.raises(GenieError) as caught:
                client.label(video(5), fps=10, **options)
            said.append(str(caught.value))
        for model in client.models():
            said += [model.state_message, *(alignment.problem for alignment in model.alignments)]
    assert "torn/lam.safetensors" in "".join(said)
    assert not [text for text in said if str(tmp_path) in text or "/here" in text]
