"""Who may import whom, and what never loads in the gateway."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "core": {"core"},
    "router": {"core", "router"},
    "server": {"core", "server"},
    "monitoring": {"core", "monitoring"},
    "training": {"core", "training", "monitoring"},
    "tutelage": {"core", "router", "server", "monitoring", "training", "tutelage"},
}
HEAVY = ("torch", "transformers", "evidently", "mlflow", "pandas", "sklearn", "pyarrow", "duckdb", "numpy")


def imports_of(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ALLOWED)
def test_each_floor_stands_on_those_below(package):
    for file in (ROOT / package).rglob("*.py"):
        ours = {name for name in imports_of(file) if name in ALLOWED}
        assert ours <= ALLOWED[package], f"{file.relative_to(ROOT)} imports {ours - ALLOWED[package]}"


def test_core_itself_imports_nothing():
    assert list(imports_of(ROOT / "core" / "__init__.py")) == []


def loaded_by(module):
    code = f"import {module}, sys; print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return found.stdout.split()


@pytest.mark.parametrize("module", ["router.serve", "router.worker", "router.shadow.serve"])
def test_the_gateway_loads_nothing_heavy(module):
    assert loaded_by(module) == []


def test_the_student_server_loads_no_torch_and_no_registry_before_it_must():
    assert set(loaded_by("server.serve")) <= {"numpy"}


def test_the_commands_load_nothing_heavy():
    assert set(loaded_by("tutelage.cli")) <= {"numpy"}


def test_the_gateway_starts_in_about_a_second():
    children = subprocess.run(
        [
            sys.executable,
            "-c",
            "import router.worker, resource; r = resource.getrusage(0); print(r.ru_utime + r.ru_stime)",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert float(children.stdout) < 2.0, "seconds of processor time until the gateway's worker is imported"
