"""Adds to the documentation what is made from the code, or lies beside it: a hook of mkdocs, run by `make docs`.

Pages in docs/ are taken as they are. Added are the front page (README), the pages for contributors, and the reference:
command line, contract, and the Python API of every package that declares `__all__`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import commands
import contract

ROOT = Path(__file__).resolve().parents[2]

BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",
    "CHANGELOG.md": "changelog.md",
    "genie_core/bundles/tiny/card.md": "model-card.md",
}
"""Pages that lie outside docs/, and what they are called on the site."""

API = {
    "genie_client": "Python client",
    "genie_core.data": "Reading and writing robot video",
    "genie_core.errors": "Errors",
    "genie_core.inference": "Labelling and simulation in the process",
    "genie_core.alignment": "Alignment",
}
"""Packages whose `__all__` is promised, with a title each: docs/compatibility.md."""

_LINK = re.compile(r"(\]\()(?!https?:|#|mailto:)([^)#\s]+)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for path, name in BESIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_relinked(text, (ROOT / path).parent)))
    files.append(File.generated(config, "reference/commands.md", content=commands.page()))
    files.append(File.generated(config, "reference/contract.md", content=contract.page()))
    for package, title in API.items():
        content = f"# {title}\n\n::: {package}\n"
        files.append(File.generated(config, f"reference/{package}.md", content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links of a page of docs/ out of the folder into links within the site."""
    source = page.file.abs_src_path
    return markdown if source is None else _relinked(markdown, Path(source).parent, within=Path(source).parent)


def _relinked(text: str, folder: Path, within: Path | None = None) -> str:
    """`text` with its links, relative to `folder`, as the site has them, whose pages all lie beside each other.

    What the site does not have (a folder of code) becomes plain text.
    """

    def moved(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if not target.exists():
            return found[0]  # mkdocs says so, and stops
        if within is not None and target.is_relative_to(within):
            return found[0]
        name = target.relative_to(ROOT).as_posix()
        if name in BESIDE:
            return found[1] + BESIDE[name]
        return found[1] + name.removeprefix("docs/") if name.startswith("docs/") else found[1] + _UNLINKED + name

    linked = _LINK.sub(moved, text)
    return re.sub(rf"\[([^\]]*)\]\({re.escape(_UNLINKED)}[^)]*\)", r"`\1`", linked)


_UNLINKED = "unlinked:"
