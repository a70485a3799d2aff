"""The page of `genie play` in a real Chromium; skipped where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genie_core.alignment import save_alignment
from genie_core.alignment.dictionary import Dictionary
from genie_core.data import encode_image
from genie_core.models.bundle import read_bundle_info
from tests.factories.alignment import make_alignment
from tests.factories.data import make_frames
from tests.support.play_page import playing
from tests.support.processes import Genie

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in QUIET:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER)) as chrome:
        yield chrome


def aligned(path: Path, models_folder: Path) -> Path:
    """An alignment of the model that is played, of whose codes four have a direction of their own."""
    ways = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float64)
    dictionary = Dictionary.fill(np.repeat(np.arange(4), 10), np.repeat(ways, 10, axis=0), 8)
    alignment = make_alignment(read_bundle_info(models_folder / "nano"), observe=False, budget=40)
    save_alignment(path, replace(alignment, dictionary=dictionary))
    return path


def test_keys_play_undo_and_branch(browser: webdriver.Chrome, server: str, models_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "scene.png"
    says = ("--alignment", aligned(tmp_path / "a.safetensors", models_folder), "--words", "x=close/open")
    picture.write_bytes(encode_image(make_frames(1, 48, 64)[0]))

    def nodes() -> int:
        return len(browser.find_elements(By.CSS_SELECTOR, "#tree image"))

    def until(holds: Callable[[], object]) -> None:
        WebDriverWait(browser, 60).until(lambda _: holds())

    def until_nodes(count: int) -> None:
        until(lambda: nodes() == count)

    def text(of: str) -> str:
        found: str = browser.find_element(By.ID, of).text
        return found

    with playing(Genie(tmp_path), "--prompt", picture, "--server", server, *says) as page:
        browser.get(page.url)
        until_nodes(1)
        said = [of.text for of in browser.find_elements(By.CSS_SELECTOR, "#palette span")]
        assert said == ["close", "open", "left", "right", *["not used"] * 4]
        keys = browser.find_element(By.TAG_NAME, "body")
        keys.send_keys("4")
        until_nodes(2)
        keys.send_keys("2")
        until_nodes(3)
        until(lambda: text("status") == "frame 2, latent action 1")
        keys.send_keys(Keys.BACKSPACE)
        keys.send_keys("8")
        until_nodes(4)
        until(lambda: "ms" in text("cost"))
        shown = browser.execute_script("return [document.getElementById('frame').naturalWidth, about.palette.length]")
        assert shown == [32, 8]
        browser.find_element(By.ID, "again").click()
        until(lambda: not browser.find_element(By.ID, "undo").is_enabled())
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
