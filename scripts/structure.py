"""Measures how the code is laid out: files a folder, lines, imports between packages, and blocks that stand twice.

``python scripts/structure.py [FOLDER]`` prints a table of a checkout; run it on two checkouts to compare them.
Generated code and tests are left out. Nothing is imported: files are read as text.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOTS = {
    "genie_core": "genie_core",
    "genie_service": "service/genie_service",
    "genie_client": "clients/genie_client",
    "genie_play": "clients/genie_play",
    "genie_view": "clients/genie_view",
    "genie_cli": "clients/genie_cli",
}
"""Where each package lies; those that a checkout does not have are passed over."""

BLOCK = 6
"""Fewest lines of code that make a block."""


def modules(root: Path) -> dict[str, Path]:
    """Return every module of ours by dotted name."""
    found: dict[str, Path] = {}
    for package, place in ROOTS.items():
        for path in sorted((root / place).rglob("*.py")):
            parts = [package, *path.relative_to(root / place).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def folder_of(name: str, names: set[str]) -> str:
    """Return the package that a module lies in; a package's own name is its `__init__`."""
    return name if any(other.startswith(name + ".") for other in names) else name.rpartition(".")[0]


def imported(path: Path, names: set[str]) -> Iterator[str]:
    """Yield the modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in names)
            if any(name not in names for name in inner):
                yield str(node.module)


def code_lines(path: Path) -> list[str]:
    """Return the lines of code without white space, comments, imports, lists of exports and lone brackets."""
    text = path.read_text(encoding="utf-8")
    left_out = {number for node in ast.parse(text).body if _says_names(node) for number in _numbers(node)}
    lines = (line.strip() for number, line in enumerate(text.splitlines(), 1) if number not in left_out)
    return [
        line for line in lines if len(line) > 3 and not line.startswith(("#", "import ", "from ", '"""', "@", "return"))
    ]


def _says_names(node: ast.stmt) -> bool:
    """Return whether a statement imports, or lists what a module exports."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    exports = any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)
    return exports or isinstance(node, (ast.Import, ast.ImportFrom))


def _numbers(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def repeated_blocks(paths: list[Path]) -> int:
    """Return the number of pairs of files that share a run of `BLOCK` lines or more."""
    places: dict[tuple[str, ...], set[Path]] = defaultdict(set)
    for path in paths:
        lines = code_lines(path)
        for i in range(len(lines) - BLOCK + 1):
            places[tuple(lines[i : i + BLOCK])].add(path)
    return len({(a, b) for some in places.values() for a in some for b in some if str(a) < str(b)})


def main() -> None:
    """Print the table."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = modules(root)
    names = set(found)
    files = Counter(folder_of(name, names) for name in names)
    arrows = {(name, other) for name, path in found.items() for other in imported(path, names) if other != name}
    between = {(folder_of(a, names), folder_of(b, names)) for a, b in arrows}
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in found.items()}
    longest = max(lines, key=lambda name: lines[name])
    rows = [
        ("modules", len(found)),
        ("lines", sum(lines.values())),
        ("longest module", f"{lines[longest]} ({longest})"),
        ("most modules in one folder", "{1} ({0})".format(*files.most_common(1)[0])),
        ("imports between modules", len(arrows)),
        ("imports between folders", len({(a, b) for a, b in between if a != b})),
        (f"pairs of files that share {BLOCK} lines of code", repeated_blocks(list(found.values()))),
    ]
    for what, figure in rows:
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
