"""What an RLDS episode says the robot was to do, under the names that Open X-Embodiment has for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.data import LabelledFile, ReadOptions, open_dataset
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.formats.rlds.example import parse_example
from genie_core.data.formats.rlds.instruction import INSTRUCTIONS, find_instruction
from genie_core.data.formats.rlds.reader import read_rlds_meta, rlds_readers
from tests.factories.labelled import label_file
from tests.factories.rlds import IMAGE, Features, encode_example, group, make_rlds, step_features, tensor, text

USUAL, OBSERVED = "steps/language_instruction", "steps/observation/natural_language_instruction"


def found_in(**features: list[bytes] | list[float] | list[int]) -> str | None:
    """What is found in a record of two steps; a name's ``__`` stands for a slash."""
    held = {name.replace("__", "/"): values for name, values in features.items()}
    return find_instruction(parse_example(encode_example({"steps/is_first": [1, 0], **held})))


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=6))
def test_the_first_text_that_is_not_empty_counts(texts: list[str]) -> None:
    record = {"steps/is_first": [0] * len(texts), USUAL: [words.encode() for words in texts]}
    wanted = next((words.strip() for words in texts if words.strip()), None)
    assert find_instruction(parse_example(encode_example(record))) == wanted


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), st.integers(1, 4))
def test_bytes_that_are_stored_as_numbers_are_text(words: str, steps: int) -> None:
    padded = [*words.encode(), *[0] * (90 - len(words.encode()))]
    record = {"steps/is_first": [0] * steps, "steps/observation/instruction": padded * steps}
    assert find_instruction(parse_example(encode_example(record))) == (words.strip() or None)


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_every_usual_name_is_known(name: str) -> None:
    count = 2 if name.startswith("steps/") else 1
    record = {"steps/is_first": [1, 0], name: ["kürze das Seil".encode()] * count}
    assert find_instruction(parse_example(encode_example(record))) == "kürze das Seil"


def test_what_holds_no_words_is_passed_over() -> None:
    embedding, words = [0.25] * 1024, [b"push", b"push"]
    assert (
        found_in(steps__language_embedding=embedding, steps__observation__natural_language_embedding=embedding) is None
    )
    assert found_in(steps__language_instruction=embedding, steps__instruction=words) == "push"
    assert found_in(steps__language_instruction=[3, 4], steps__instruction=words) == "push"  # the index of a task
    assert found_in(steps__observation__instruction=[300, 5, 6, 7], instruction=words) == "push"  # tokens of a model
    assert found_in(steps__observation__instruction=[5, 6, 7], instruction=words) == "push"
    assert found_in(steps__language_instruction=[b"", b" \n"], steps__observation__instruction=words) == "push"
    assert found_in(steps__language_instruction=[b""] * 2, steps__language_instruction_2=words) == "push"
    assert found_in(steps__language_instruction=[]) is None
    assert found_in() is None


def test_several_texts_a_step_give_their_first() -> None:
    held = {f"{USUAL}/ragged_flat_values": [b"push", b"shove", b"push"], f"{USUAL}/ragged_row_lengths_0": [2, 1]}
    assert find_instruction(parse_example(encode_example({"steps/is_first": [1, 0], **held}))) == "push"


def test_bytes_that_are_no_utf8_are_seen_as_such() -> None:
    assert found_in(steps__language_instruction=[b"d\xe9pose", b"d\xe9pose"]) == "d\ufffdpose"


def change_words(seed: int, held: Features) -> None:
    """Each episode says it in another way: as made, between empty steps, in the observation, and not at all."""
    words = held[USUAL]
    if seed == 1:
        held[USUAL] = [b"", "  Würfel heben ".encode(), *[b"go home"] * (len(words) - 2)]
    if seed >= 2:
        del held[USUAL]
    if seed == 2:
        held[OBSERVED] = [b"lift, as observed"] * len(words)
        held["steps/observation/natural_language_embedding"] = [0.5] * (8 * len(words))


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledFile:
    features = step_features()
    more = {"natural_language_instruction": text(), "natural_language_embedding": tensor("float32", 8)}
    features["observation"] = group(**features["observation"]["featuresDict"]["features"], **more)
    path = make_rlds(tmp_path / "arm", change=change_words, features=features)
    return label_file(path, options=ReadOptions(camera=IMAGE, fps=5))


def tasks_of(folder: Path) -> list[list[str]]:
    (table,) = (folder / "meta" / "episodes").rglob("*.parquet")
    tasks: list[list[str]] = pq.read_table(table)["tasks"].to_pylist()
    return tasks


WORDS = [["lift cube 0"], ["Würfel heben"], ["lift, as observed"], [""]]


def test_lerobot_gets_the_instruction_of_each_episode(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    assert tasks_of(tmp_path / "out") == WORDS
    assert [e.array("task_index").tolist()[0] for e in open_dataset(tmp_path / "out").episodes] == [0, 1, 2, 3]
    export_labels(labelled.path, tmp_path / "said", ExportPlan("lerobot", task="Stack."))
    assert tasks_of(tmp_path / "said") == [["Stack."]] * 4


def test_it_goes_along_with_other_exports(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "labels.parquet", ExportPlan("parquet"))
    export_labels(tmp_path / "labels.parquet", tmp_path / "a", ExportPlan("lerobot"))
    shutil.rmtree(tmp_path / "arm")
    export_labels(tmp_path / "a", tmp_path / "b", ExportPlan("lerobot"))
    assert tasks_of(tmp_path / "a") == tasks_of(tmp_path / "b") == WORDS


def test_without_its_source_an_export_has_no_words(tmp_path: Path, labelled: LabelledFile) -> None:
    shutil.rmtree(tmp_path / "arm")
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", frames="labelled"))
    assert tasks_of(tmp_path / "out") == [[""]] * 4


def test_without_features_json_it_is_found_too(tmp_path: Path) -> None:
    path = make_rlds(tmp_path, change=change_words)
    (path / "features.json").unlink()
    found = [reader.task for reader in rlds_readers(read_rlds_meta(path), IMAGE)]
    assert found == ["lift cube 0", "Würfel heben", "lift, as observed", None]
