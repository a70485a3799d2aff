"""ModelService and the registry behind it: what there is, loading, unloading, and who is still using it."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from genie_api.v1 import labelling_pb2, models_pb2
from genie_client.messages import model_info
from genie_core.data.code_meanings import write_meanings
from genie_core.errors import ModelError
from genie_core.models.bundle import BundleInfo, read_bundle_info
from genie_service import registry
from genie_service.engine import Engine
from genie_service.registry import Compute, ModelRegistry, State
from tests.factories.bundles import BROKEN_WHEN_LOADED, LISTED_AS_BROKEN, make_nano_bundle
from tests.factories.meanings import make_meanings
from tests.support.service_messages import assert_invalid, episode, raw, video
from tests.support.service_server import Running
from tests.support.waiting import WITHIN_S, until, wait_until


def _list(genie: Running, **request: object) -> models_pb2.ListModelsResponse:
    return genie.models.ListModels(models_pb2.ListModelsRequest(**request))


def _get(genie: Running, name: str) -> models_pb2.Model:
    return genie.models.GetModel(models_pb2.GetModelRequest(name=name)).model


def _load(genie: Running, name: str) -> models_pb2.Model:
    return genie.models.LoadModel(models_pb2.LoadModelRequest(name=name)).model


def _unload(genie: Running, name: str) -> models_pb2.Model:
    return genie.models.UnloadModel(models_pb2.UnloadModelRequest(name=name)).model


def _state(genie: Running, name: str) -> str:
    return models_pb2.ModelState.Name(_get(genie, name).state).removeprefix("MODEL_STATE_")


def test_every_bundle_is_listed_in_order_with_its_state(genie: Running) -> None:
    listed = _list(genie)
    assert [(m.name, m.is_default) for m in listed.models] == [
        ("models/alpha", True),
        ("models/beta", False),
        ("models/broken", False),
    ]
    assert [m.state for m in listed.models] == [
        models_pb2.MODEL_STATE_READY,
        models_pb2.MODEL_STATE_UNLOADED,
        models_pb2.MODEL_STATE_FAILED,
    ]
    assert "config.json" in listed.models[2].state_message
    assert listed.models[1].num_codes == 8
    assert not any(m.card or m.codebook for m in listed.models)
    assert listed.next_page_token == ""


def test_every_lane_is_warm_before_anybody_comes_and_statistics_count_what_is_done(
    start: Callable[..., Running],
) -> None:
    genie = start(lanes=3)
    found = genie.models.GetStatistics(models_pb2.GetStatisticsRequest())
    assert (found.lanes, found.busy_lanes, found.waiting, found.dropped, found.refused) == (3, 0, 0, 0, 0)
    assert found.uptime_s > 0
    done = {operation.name: operation for operation in found.operations}
    assert (done["alpha/warm"].pieces, done["alpha/warm"].batches) == (3, 3)
    assert "alpha/encode" not in done
    request = labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(step=1), frames=raw(video(40)))
    genie.labelling.LabelClip(request)
    found = genie.models.GetStatistics(models_pb2.GetStatisticsRequest())
    done = {operation.name: operation for operation in found.operations}
    assert done["alpha/encode"].pieces == 3  # blocks of 16 frames
    assert done["alpha/encode"].device_s > 0


def test_models_come_in_pages(genie: Running) -> None:
    names, token = [], ""
    while True:
        page = _list(genie, page_size=2, page_token=token)
        names.append([m.name for m in page.models])
        token = page.next_page_token
        if not token:
            break
    assert names == [["models/alpha", "models/beta"], ["models/broken"]]
    with pytest.raises(grpc.RpcError) as caught:
        _list(genie, page_size=1001)
    assert_invalid(caught.value, "page_size", "1001", "1000")


def test_a_model_is_described_in_full(genie: Running, models: Path) -> None:
    info = read_bundle_info(models / "alpha")
    model = _get(genie, "")
    assert model == _get(genie, "models/alpha")
    assert model.bundle_id == info.bundle_id
    assert (model.frame_height, model.frame_width, model.model_fps) == (32, 32, 10)
    assert (model.context_frames, model.tokens_per_frame, model.default_temperature) == (4, 16, 1)
    assert model.parameters == info.parameters
    assert len(set(model.palette)) == model.num_codes == 8
    assert model.card == info.card
    codebook = np.frombuffer(model.codebook, "<f4").reshape(model.num_codes, model.latent_dim)
    np.testing.assert_array_equal(codebook, info.codebook)


def test_a_palette_that_is_stored_while_the_server_runs_names_the_codes(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    info = read_bundle_info(make_nano_bundle(tmp_path / "alpha"))
    genie = start(tmp_path)
    assert not _get(genie, "models/alpha").code_meanings
    write_meanings(info.path, make_meanings(8, info.bundle_id))
    model = _get(genie, "models/alpha")
    assert [code.robot for code in model.code_meanings] == ["+x 2.4 cm"] * 8
    assert model_info(model).code_meanings[0].name == "+x 2.4 cm"
    assert model_info(model).code_meanings[0].round_trip is None
    assert not _list(genie).models[0].code_meanings
    write_meanings(info.path, make_meanings(8, "cd" * 32))
    model = _get(genie, "models/alpha")
    assert not model.code_meanings
    assert "alpha/palette.json: got the palette of bundle cdcd" in model.code_meanings_problem


@pytest.mark.parametrize("name", ["alpha", "models/", "models/a/b", "bundles/alpha"])
def test_a_malformed_name_is_refused(genie: Running, name: str) -> None:
    for call in (_get, _load, _unload):
        with pytest.raises(grpc.RpcError) as caught:
            call(genie, name)
        assert_invalid(caught.value, "name", repr(name))


def test_loading_and_unloading_need_a_name(genie: Running) -> None:
    for call in (_load, _unload):
        with pytest.raises(grpc.RpcError) as caught:
            call(genie, "")
        assert_invalid(caught.value, "name")


def test_an_unknown_model_is_not_found_and_those_there_are_are_listed(genie: Running) -> None:
    for call in (_get, _load, _unload):
        with pytest.raises(grpc.RpcError) as caught:
            call(genie, "models/gamma")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "'gamma'; there are: alpha, beta, broken" in caught.value.details()


def test_a_model_is_loaded_used_and_unloaded(start: Callable[..., Running]) -> None:
    genie = start()
    assert _load(genie, "models/beta").state == models_pb2.MODEL_STATE_READY
    assert _load(genie, "models/beta").state == models_pb2.MODEL_STATE_READY
    responses = list(genie.labelling.LabelEpisode(episode(video(5), model="models/beta")))
    assert responses[0].header.model == "models/beta"
    assert _unload(genie, "models/beta").state == models_pb2.MODEL_STATE_UNLOADED
    assert _unload(genie, "models/beta").state == models_pb2.MODEL_STATE_UNLOADED
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.labelling.LabelEpisode(episode(video(5), model="models/beta")))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_bundle_that_cannot_be_loaded_says_why(start: Callable[..., Running], tmp_path: Path) -> None:
    make_nano_bundle(tmp_path / "good")
    weights = make_nano_bundle(tmp_path / "torn") / "lam.safetensors"
    genie = start(tmp_path, default_model="good")
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(grpc.RpcError) as caught:
        _load(genie, "models/torn")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "lam.safetensors" in caught.value.details()
    assert _state(genie, "models/torn") == "FAILED"
    make_nano_bundle(tmp_path / "torn", seed=3)
    assert _load(genie, "models/torn").state == models_pb2.MODEL_STATE_READY


def test_a_bundle_that_is_copied_in_later_is_found(start: Callable[..., Running], tmp_path: Path) -> None:
    make_nano_bundle(tmp_path / "first")
    genie = start(tmp_path)
    make_nano_bundle(tmp_path / "second", seed=2)
    assert _get(genie, "models/second").state == models_pb2.MODEL_STATE_UNLOADED
    assert _load(genie, "models/second").state == models_pb2.MODEL_STATE_READY
    assert [m.name for m in _list(genie).models] == ["models/first", "models/second"]


def test_the_default_model_stays_loaded(genie: Running) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _unload(genie, "models/alpha")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "--default-model" in caught.value.details()
    assert _state(genie, "models/alpha") == "READY"


def test_requests_under_way_finish_before_a_model_is_gone(start: Callable[..., Running]) -> None:
    genie = start(preload="all")
    more: queue.SimpleQueue[labelling_pb2.LabelEpisodeRequest | None] = queue.SimpleQueue()
    for request in episode(video(4), model="models/beta"):
        more.put(request)
    call = genie.labelling.LabelEpisode(iter(more.get, None))
    assert next(call).WhichOneof("part") == "header"

    unloaded = threading.Event()

    def unload() -> None:
        _unload(genie, "models/beta")
        unloaded.set()

    thread = threading.Thread(target=unload)
    thread.start()
    wait_until(lambda: _state(genie, "models/beta") == "UNLOADED")
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.labelling.LabelEpisode(episode(video(5), model="models/beta")))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert not unloaded.is_set()
    more.put(labelling_pb2.LabelEpisodeRequest(frames=raw(video(20))))
    more.put(None)
    assert [r.WhichOneof("part") for r in call][-1] == "summary"
    assert unloaded.wait(WITHIN_S)
    thread.join()


def test_all_models_can_be_loaded_at_the_start(start: Callable[..., Running]) -> None:
    genie = start(preload="all")
    assert [_state(genie, f"models/{name}") for name in ("alpha", "beta", "broken")] == ["READY", "READY", "FAILED"]


def test_broken_bundles_are_listed_with_their_problem_and_the_others_serve(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    make_nano_bundle(tmp_path / "good")
    broken = [*LISTED_AS_BROKEN.values(), *BROKEN_WHEN_LOADED.values()]
    first, later = broken[::2], broken[1::2]
    for n, (damage, _) in enumerate(first):
        damage(make_nano_bundle(tmp_path / f"first-{n}"))
    os.mkdir(os.fsencode(tmp_path) + b"/caf\xe9")
    for file in (tmp_path / "good").iterdir():
        shutil.copy(os.fsencode(file), os.fsencode(tmp_path) + b"/caf\xe9/" + os.fsencode(file.name))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    genie = start(tmp_path, default_model="good", preload="all")
    for n, (damage, _) in enumerate(later):  # beside a running server
        damage(make_nano_bundle(tmp_path / f"later-{n}"))
    _list(genie)
    for kind, damaged in (("first", first), ("later", later)):
        for n, (_, words) in enumerate(damaged):
            with pytest.raises(grpc.RpcError) as caught:
                _load(genie, f"models/{kind}-{n}")
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert words in _get(genie, f"models/{kind}-{n}").state_message
    listed = {m.name: m.state for m in _list(genie).models}
    assert listed.pop("models/good") == models_pb2.MODEL_STATE_READY
    assert len(listed) == len(broken)
    assert set(listed.values()) == {models_pb2.MODEL_STATE_FAILED}
    list(genie.labelling.LabelEpisode(episode(video(5))))


def test_a_bundle_that_nobody_foresaw_does_not_stop_the_others(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_nano_bundle(tmp_path / "good")
    make_nano_bundle(tmp_path / "odd")

    def read(path: Path) -> BundleInfo:
        if path.name == "odd":
            raise ZeroDivisionError
        return read_bundle_info(path)

    monkeypatch.setattr(registry, "read_bundle_info", read)
    genie = start(tmp_path, default_model="good")
    assert "unexpected ZeroDivisionError" in _get(genie, "models/odd").state_message


# The registry by itself: what a client cannot bring about at will.


def _registry(folder: Path, default: str | None = None) -> Callable[[], object]:
    async def opened() -> ModelRegistry:
        return await ModelRegistry.open(folder, default, Compute(), Engine())

    return lambda: asyncio.run(opened())


def test_one_bundle_folder_will_do_as_models_folder(models: Path) -> None:
    registry = _registry(models / "alpha")()
    assert isinstance(registry, ModelRegistry)
    assert registry.default == "alpha"


def test_an_unclear_models_folder_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no bundle"):
        _registry(tmp_path)()
    with pytest.raises(ModelError, match="holds no bundle"):
        _registry(tmp_path / "absent")()
    with pytest.raises(ModelError, match="--default-model; there are: alpha, beta, broken"):
        _registry(models)()
    with pytest.raises(ModelError, match="no default model 'gamma'"):
        _registry(models, "gamma")()


def test_loads_at_once_are_one_load_and_observers_hear_of_it(models: Path) -> None:
    async def main() -> list[State]:
        registry = await ModelRegistry.open(models, "alpha", Compute(), Engine())
        heard: list[State] = []

        async def observer() -> None:
            heard.append((await registry.status("alpha")).state)

        registry.on_change(observer)
        await asyncio.gather(*(registry.load("alpha") for _ in range(5)))
        return heard

    assert asyncio.run(main()) == [State.LOADING, State.READY]


def test_a_load_goes_on_when_its_caller_gives_up_and_uses_meanwhile_may_come_again(models: Path) -> None:
    async def main() -> None:
        registry = await ModelRegistry.open(models, "alpha", Compute(), Engine())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await registry.load("alpha")
        with pytest.raises(ModelError, match="being loaded"):
            async with registry.lease("alpha"):
                pass
        assert (await registry.load("alpha")).state is State.READY

    asyncio.run(main())


async def _unloaded(registry: ModelRegistry) -> None:
    """Wait until the model counts as unloaded, which it does while calls still use it."""
    async with asyncio.timeout(WITHIN_S):
        while (await registry.status("alpha")).state is not State.UNLOADED:
            await asyncio.sleep(0)


def test_a_model_unloaded_in_use_is_taken_back_at_once(models: Path) -> None:
    async def main() -> None:
        registry = await ModelRegistry.open(models, "alpha", Compute(), Engine())
        await registry.load("alpha")
        async with registry.lease("alpha") as model:
            unloading = asyncio.create_task(registry.unload("alpha"))
            await _unloaded(registry)
            async with asyncio.timeout(30):  # nobody ends the call that uses it
                assert (await registry.load("alpha")).state is State.READY
                assert (await unloading).state is State.READY
                async with registry.lease("") as again:
                    assert again is model
        await registry.unload("alpha")
        assert not registry.is_default_ready

    asyncio.run(main())


def test_a_model_replaced_and_unloaded_in_use_is_loaded_only_when_the_old_one_is_free(tmp_path: Path) -> None:
    make_nano_bundle(tmp_path / "alpha", seed=1)

    async def main() -> list[str]:
        registry = await ModelRegistry.open(tmp_path, "alpha", Compute(), Engine())
        await registry.load("alpha")
        events: list[str] = []
        async with registry.lease("alpha") as model:
            unloading = asyncio.create_task(registry.unload("alpha"))
            await _unloaded(registry)
            unloading.cancel()
            make_nano_bundle(tmp_path / "alpha", seed=2)
            loading = asyncio.create_task(registry.load("alpha"))
            await asyncio.sleep(0.1)
            assert not loading.done()
            model.labeller.label(video(3), 1)
            events.append("used")
        await loading
        events.append("loaded")
        async with registry.lease("") as again:
            assert again is not model
        return events

    assert asyncio.run(main()) == ["used", "loaded"]


def test_an_unloaded_model_leaves_memory_even_if_nobody_waits_for_it(models: Path) -> None:
    async def main() -> None:
        registry = await ModelRegistry.open(models, "alpha", Compute(), Engine())
        await registry.load("alpha")
        async with registry.lease("alpha") as model:
            kept = weakref.ref(model)
            del model
            unloading = asyncio.create_task(registry.unload("alpha"))
            await _unloaded(registry)
            unloading.cancel()
            await asyncio.gather(unloading, return_exceptions=True)
            gc.collect()
            assert kept() is not None

        def has_left_memory() -> bool:
            gc.collect()
            return kept() is None

        await until(has_left_memory)

    asyncio.run(main())


def test_a_device_that_is_not_there_is_named(models: Path) -> None:
    async def main() -> None:
        registry = await ModelRegistry.open(models, "alpha", Compute("cuda:9"), Engine())
        await registry.load("alpha")

    with pytest.raises(ModelError, match="cuda:9"):
        asyncio.run(main())
