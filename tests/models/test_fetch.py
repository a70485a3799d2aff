"""Bundles behind URLs: whole and checked, from the cache without the store, and anew if a copy is damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import fsspec
import pytest

from genie_core.errors import ModelError
from genie_core.models.bundle import bundle_id
from genie_core.models.fetch import local_models
from tests.factories.bundles import make_nano_bundle


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_CACHE", str(tmp_path / "cache"))


class Store:
    """Fsspec's store in memory, which can be unreachable; what is read there is counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._system = fsspec.filesystem("memory")
        self._system.store.clear()
        self.fetched: list[str] = []
        self.asked = 0
        self.away = False
        get_file, find = self._system.get_file, self._system.find

        def counted_get(key: str, target: str, **more: Any) -> Any:
            self.fetched.append(key)
            return get_file(key, target, **more)

        def counted_find(*arguments: Any, **more: Any) -> Any:
            self.asked += 1
            if self.away:
                raise ConnectionError("no route to host")
            return find(*arguments, **more)

        monkeypatch.setattr(self._system, "get_file", counted_get)
        monkeypatch.setattr(self._system, "find", counted_find)

    def upload(self, folder: Path, to: str) -> str:
        for file in folder.rglob("*"):
            if file.is_file():
                self._system.pipe(f"/{to}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"memory://{to}"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(monkeypatch)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {name: make_nano_bundle(folder / name, seed) for seed, name in enumerate(("one", "other"))}


def test_a_bundle_and_a_folder_of_bundles_are_fetched_once(store: Store, bundles: dict[str, Path]) -> None:
    (bundles["one"] / ".hidden").write_text("no part of it")
    for beside in ("palette.json", "confidence.json"):
        (bundles["one"] / beside).write_text("{}")
    url = store.upload(bundles["one"].parent, "bucket/models")
    found = local_models(f"{url}/one")
    assert found.name == "one"
    assert bundle_id(found) == bundle_id(bundles["one"])
    assert sorted(p.name for p in found.iterdir()) == sorted(
        p.name for p in bundles["one"].iterdir() if p.name != ".hidden"
    )
    count = len(store.fetched)
    assert local_models(f"{url}/one") == found
    assert len(store.fetched) == count
    assert sorted(p.name for p in local_models(url).iterdir()) == ["one", "other"]


def test_a_local_path_is_itself(tmp_path: Path) -> None:
    assert local_models(tmp_path) == tmp_path


def test_a_new_version_is_fetched_and_without_the_store_the_last_one_serves(
    store: Store, bundles: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    url = store.upload(bundles["one"], "bucket/m")
    old = local_models(url)
    store.upload(bundles["other"], "bucket/m")
    new = local_models(url)
    assert [bundle_id(p) for p in (old, new)] == [bundle_id(bundles[name]) for name in ("one", "other")]
    store.away = True
    assert local_models(url) == new
    assert "no route to host: using the copy of an earlier time" in caplog.text
    with pytest.raises(ModelError, match=r"models: memory://bucket/n: .*no route to host"):
        local_models("memory://bucket/n")


def test_what_is_pinned_is_asked_for_once_and_nothing_else_will_do(store: Store, bundles: dict[str, Path]) -> None:
    url, pin = store.upload(bundles["one"], "bucket/m"), bundle_id(bundles["one"])
    found = local_models(f"{url}#{pin[:16]}")
    asked, store.away = store.asked, True
    assert local_models(f"{url}#{pin}") == found
    assert store.asked == asked
    store.away = False
    with pytest.raises(ModelError, match=f"models: {url}: got bundle {pin}, expected {'0' * 64}"):
        local_models(f"{url}#{'0' * 64}")


@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_a_damaged_copy_is_fetched_anew_and_never_used(store: Store, bundles: dict[str, Path], how: str) -> None:
    url = f"{store.upload(bundles['one'], 'bucket/m')}#{bundle_id(bundles['one'])}"
    file = local_models(url) / "lam.safetensors"
    whole = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if how == "changed" else whole[:-9])
    store.away = True
    with pytest.raises(ModelError, match="no route to host"):
        local_models(url)
    store.away = False
    assert (local_models(url) / "lam.safetensors").read_bytes() == whole


def test_checksums_beside_a_bundle_are_checked(store: Store, bundles: dict[str, Path], tmp_path: Path) -> None:
    url = store.upload(bundles["one"], "bucket/m")
    sums = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  ./{p.name}" for p in bundles["one"].glob("*.safetensors")]
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums" / "SHA256SUMS").write_text("\n".join(sums))
    store.upload(tmp_path / "sums", "bucket/m")
    assert local_models(url)
    (tmp_path / "sums" / "SHA256SUMS").write_text("\n".join(sums).replace(sums[0][:8], "00000000"))
    store.upload(tmp_path / "sums", "bucket/m")
    with pytest.raises(ModelError, match=r"got SHA-256 [0-9a-f]{64}, expected 00000000[0-9a-f]{56} \(SHA256SUMS\)"):
        local_models(url)


def test_what_is_no_bundle_or_too_much_is_refused(
    store: Store, bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.md").write_text("nothing")
    with pytest.raises(ModelError, match="memory://bucket/t: holds no bundle"):
        local_models(store.upload(tmp_path / "text", "bucket/t"))
    monkeypatch.setenv("GENIE_CACHE_GIB", "0.000001")
    with pytest.raises(ModelError, match="GENIE_CACHE_GIB"):
        local_models(store.upload(bundles["one"], "bucket/m"))
    assert not store.fetched
