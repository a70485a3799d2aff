"""Settings of the server: one immutable object, from flags, then GENIE_* variables, then a TOML file, then defaults.

Each setting is described at its field, and passed as a plain value to the part that uses it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from genie_core.bundles import models_dir
from genie_core.errors import GenieError
from genie_service.certificates import TlsFiles
from genie_service.frames import FrameLimits
from genie_service.memory import default_memory_bytes

DEFAULT_FILE = Path("genie.toml")
"""Read from the working folder if it exists and no other file is named."""

TABLE = "serve"
"""Table of the file that holds the server's settings."""

MIB = 1 << 20


class Settings(BaseSettings):
    """All settings of a server. Build it with `load_settings`, which phrases errors for the user."""

    model_config = SettingsConfigDict(env_prefix="GENIE_", env_ignore_empty=True, frozen=True, extra="forbid")

    config: Path | None = Field(None, description="TOML file with a [serve] table; genie.toml if there is one")
    models: Path | str = Field(
        default_factory=models_dir,
        description="folder of bundle folders, or one bundle folder, or a URL of either (hf://OWNER/NAME@REVISION, "
        "s3://BUCKET/PATH#BUNDLE_ID, gs://...); default: the shipped ones",
    )
    default_model: str | None = Field(
        None, description="model used when a request names none; optional if there is only one"
    )
    preload: Literal["all", "default", "none"] = Field(
        "default", description="models loaded before the server is ready"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on; loopback by default")
    insecure: bool = Field(
        False, description="listen beyond loopback without TLS: everybody on the way can read and change what is sent"
    )
    tls_certificate: Path | None = Field(
        None, description="file of the server's certificate chain (PEM); reread when it changes"
    )
    tls_key: Path | None = Field(None, description="file of the certificate's private key (PEM)")
    tls_client_ca: Path | None = Field(
        None, description="file of the authorities (PEM) that client certificates must descend from"
    )
    tokens: Path | None = Field(
        None, description="file of the tokens that may use the server, made by `genie token`; reread when it changes"
    )
    audit_log: Path | None = Field(None, description="file to append the audit log to, in addition to the log")
    follow_links: bool = Field(False, description="host bundles that are, or contain, links to somewhere else")
    port: int = Field(50051, ge=0, le=65535, description="port to listen on; 0 for a free one")
    open_inference: bool = Field(
        False, description="also speak the Open Inference Protocol v2, for KServe and clients of Triton"
    )
    device: str = Field("cpu", min_length=1, description="torch device, such as cpu, cuda or cuda:1")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="number format of the networks; labels record it, and the two do not mix"
    )
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="processes that share the port, each with its own models: one a GPU, where the device is cuda; "
        "limits of calls, sessions, memory and threads are divided between them",
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads; 0: torch's default")
    lanes: int = Field(
        0, ge=0, le=256, description="batches computed at once; 0: one per thread on a CPU, one on a GPU"
    )
    max_batch: int = Field(
        0, ge=0, le=1024, description="largest number of pieces of work in a batch; 0: 2 on a CPU, 32 on a GPU"
    )
    batch_wait_ms: float = Field(
        0.0, ge=0, le=1000, description="how long a batch that is not full waits for more work, milliseconds"
    )
    profile: Path | None = Field(None, description="folder for a torch profiler trace of the first batches")
    max_message_mib: int = Field(64, ge=1, le=1024, description="largest message, MiB")
    max_decoded_mib: int = Field(256, ge=1, le=65536, description="largest size of a message's decoded pixels, MiB")
    max_frames: int = Field(4096, ge=2, description="largest number of frames in one message")
    min_frame_side: int = Field(8, ge=1, description="smallest frame height and width, pixels")
    max_frame_side: int = Field(4096, ge=1, le=16384, description="largest frame height and width, pixels")
    max_actions: int = Field(1024, ge=1, description="largest number of actions in one rollout or branch")
    max_branches: int = Field(64, ge=1, description="largest number of branches in one request")
    max_simulated_pixels: int = Field(
        1 << 20,
        ge=64,
        le=1 << 24,
        description="most pixels of a simulated frame, where the model moves them",
    )
    max_calls: int = Field(128, ge=1, description="largest number of calls in progress at once")
    max_play_streams: int = Field(16, ge=1, description="largest number of Play streams at once")
    max_frames_per_second: float = Field(
        0.0, ge=0, description="largest number of frames of one client, sent and simulated, per second; 0: no limit"
    )
    max_wait_seconds: float = Field(
        10.0, gt=0, description="a new call is refused if others would keep it waiting longer than this, seconds"
    )
    memory_mib: int = Field(
        0, ge=0, description="memory limit of the server, MiB; 0: 80% of the container's limit, or 4 GiB"
    )
    idle_seconds: float = Field(300.0, gt=0, description="a stream that sends nothing for this long is ended")
    message_seconds: float = Field(
        30.0, gt=0, description="a call of one message is ended if that has not arrived within this time"
    )
    write_seconds: float = Field(
        30.0, gt=0, description="a call whose client accepts no response for this long is ended"
    )
    pressure_seconds: float = Field(
        10.0, gt=0, description="a call whose client is silent for this long is ended if others wait for room"
    )
    max_connection_age_seconds: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="age at which a connection is replaced by a new one, which may lead to another server; calls in "
        "progress are not cut; 0: never",
    )
    drain_seconds: float = Field(30.0, ge=0, description="time for calls in progress to finish after SIGTERM")
    metrics_address: str | None = Field(
        None, description="HOST:PORT for Prometheus metrics over HTTP, or a PORT of loopback; default: none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    log_format: Literal["text", "json"] = Field("text", description="how log lines are written, the audit log's too")
    exit_with_stdin: bool = Field(False, description="stop when standard input is closed (the parent has gone)")

    @field_validator("models")
    @classmethod
    def _is_path_or_url(cls, models: Path | str) -> Path | str:
        return models if "://" in str(models) else Path(models)

    @field_validator("metrics_address")
    @classmethod
    def _is_address(cls, address: str | None) -> str | None:
        if address is not None:
            split_address(address)
        return address

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("--tls-certificate and --tls-key go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("--tls-client-ca needs --tls-certificate and --tls-key")
        return self

    @model_validator(mode="after")
    def _workers_fit(self) -> Settings:
        if self.workers > 1 and self.preload == "none":
            raise ValueError("--workers needs --preload default or all: models are loaded before a worker listens")
        if self.workers > 1 and self.profile is not None:
            raise ValueError("--profile records one process: give it without --workers")
        return self

    @property
    def tls(self) -> TlsFiles | None:
        """Files of the server's TLS; None: no TLS."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    @property
    def metrics(self) -> tuple[str, int] | None:
        """Host and port of the metrics; None: they are not exposed."""
        return None if self.metrics_address is None else split_address(self.metrics_address)

    @property
    def on_cpu(self) -> bool:
        """Whether models compute on the CPU."""
        return self.device.split(":")[0] == "cpu"

    @property
    def largest_batch(self) -> int:
        """Largest number of pieces of work in a batch."""
        return self.max_batch or (2 if self.on_cpu else 32)

    @property
    def memory_bytes(self) -> int:
        """Memory limit of the server, bytes."""
        return self.memory_mib * MIB or default_memory_bytes()

    @property
    def frame_limits(self) -> FrameLimits:
        """Limits of a `Frames` message."""
        return FrameLimits(self.min_frame_side, self.max_frame_side, self.max_frames, self.max_decoded_mib * MIB)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: flags, environment, file. The file's path may come from either of the first two."""
        named = {**env_settings(), **init_settings()}.get("config")
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_file(named))


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``[IPV6]:PORT`` or ``PORT``, which is on loopback. Raises ValueError."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("expected HOST:PORT, or PORT")
    return host, int(port)


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Return settings from `flags` (only those that the user gave, by field name), the environment and the file.

    Raises GenieError if the file cannot be read; SettingsError if values are wrong, naming each setting and where to
    set it.
    """
    made = _attempt(flags)
    if isinstance(made, Settings):
        return made
    values, texts = dict(flags), list[str]()
    for _ in range(2):  # settings that must go together are looked at once each is right by itself
        texts += [_explain(dict(problem)) for problem in made.errors()]
        values |= _defaults_of_wrong(made)
        rest = _attempt(values)
        if isinstance(rest, Settings):
            raise SettingsError("\n".join(texts), rest)
        made = rest
    raise SettingsError("\n".join(dict.fromkeys(texts)), None)


def _attempt(values: Mapping[str, Any]) -> Settings | ValidationError:
    try:
        return Settings(**values)
    except ValidationError as error:
        return error


class SettingsError(GenieError):
    """Values of settings are wrong. `rest`: the settings with defaults in their place; None if there is no such."""

    def __init__(self, message: str, rest: Settings | None) -> None:
        self.rest = rest
        super().__init__(message)


def _defaults_of_wrong(error: ValidationError) -> dict[str, Any]:
    wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
    if any(not problem["loc"] for problem in error.errors()):  # of those that go together
        wrong |= {"tls_certificate", "tls_key", "tls_client_ca", "workers"}
    fields = Settings.model_fields
    defaults = {name: fields[name].get_default(call_default_factory=True) for name in wrong if name in fields}
    if "port" in defaults:
        defaults["port"] = 0  # nobody asked for the default one, which may be in use
    return defaults


def _read_file(named: Any) -> dict[str, Any]:
    path = DEFAULT_FILE if named is None else Path(named)
    if named is None and not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GenieError(f"settings file {path}: {error}") from None
    table = content.get(TABLE, {})
    if not isinstance(table, dict):
        raise GenieError(f"settings file {path}: `{TABLE}` must be a table, [{TABLE}]")
    return table


def _explain(problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:  # of several settings together
        return str(problem["ctx"]["error"])
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        return f"setting {name}: there is no such setting"
    places = f"--{name.replace('_', '-')}, GENIE_{name.upper()} or `{name}` in the file"
    wrong = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else problem["msg"].lower()
    return f"setting {name} ({places}): {wrong}, got {problem['input']!r}"


__all__ = ["Settings", "SettingsError", "load_settings", "split_address"]
