"""Nothing that is read can run: no package of ours unpickles, evaluates or loads with PyTorch's or numpy's pickles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "genie_core",
    "service/genie_service",
    "clients/genie_client",
    "clients/genie_cli",
    "clients/genie_play",
    "clients/genie_view",
)
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {("torch", "load"), ("yaml", "load"), ("os", "system"), ("os", "popen")}


def _runs_code(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(name.name.split(".")[0] in MODULES for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in MODULES
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    if isinstance(called, ast.Name) and called.id in CALLS:
        return True
    owner = called.value if isinstance(called, ast.Attribute) else None
    if isinstance(called, ast.Attribute) and isinstance(owner, ast.Name) and (owner.id, called.attr) in ATTRIBUTES:
        return True
    return any(word.arg in ("allow_pickle", "shell") and _is_true(word.value) for word in node.keywords)


def _is_true(value: ast.expr) -> bool:
    return not (isinstance(value, ast.Constant) and value.value is False)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_that_is_read_can_run(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    found = [
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if _runs_code(node)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code", ["import pickle", "from marshal import loads", "eval(x)", "torch.load(f)", "np.load(f, allow_pickle=True)"]
)
def test_what_could_run_is_found(code: str) -> None:
    assert any(_runs_code(node) for node in ast.walk(ast.parse(code)))
