"""What the files of the repository may hold, and what they may not."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("coach", "sql", "prompts", "evals", "tests")
# Put together here, so that this file does not find itself.
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", r"\bX" + r"XX\b", "NotImplemented" + "Error")))
SKIPPED = re.compile(r"pytest\.(?:mark\.)?(?:skip|xfail|importor" + r"skip)\w*")
REGISTRIES = re.compile(
    "|".join(("pypi" + r"\.", "python" + "hosted", "npm" + "js", "hugging" + r"face\.co", "index-" + "url"))
)
LONGEST = {"coach": 250, "sql": 300, "tests": 500}


def files() -> list[Path]:
    """All that is to be in a commit, the new ones too; binary ones aside."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    paths = (
        [ROOT / name for name in listed.stdout.split("\0") if name]
        if listed.returncode == 0  # else unpacked from an archive, without its history
        else [path for path in ROOT.rglob("*") if ".venv" not in path.parts and "__pycache__" not in path.parts]
    )
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def lines(*folders: str) -> Iterator[tuple[str, str]]:
    for path in files():
        if not folders or path.relative_to(ROOT).parts[0] in folders:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                yield f"{path.relative_to(ROOT)}:{number}", line


def test_nothing_is_left_unfinished() -> None:
    assert [(where, line) for where, line in lines(*CODE) if UNFINISHED.search(line)] == []


def test_no_test_is_skipped() -> None:
    assert [(where, line) for where, line in lines("tests") if SKIPPED.search(line)] == []


def test_no_file_names_a_registry() -> None:
    """Where packages come from is the business of whoever installs them: their mirror is configured there."""
    assert [(where, line) for where, line in lines() if REGISTRIES.search(line)] == []


def pinned() -> dict[str, str]:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, equals, version = line.partition("==")
            assert equals, f"{line} is no exact version"
            pins[normal(name)] = version
    return pins


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_constraints_are_exact_versions_and_no_addresses() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "@" not in text
    assert all(re.fullmatch(r"[\w.+!]+", version) for version in pinned().values())


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {normal(re.split(r"[\[<>=!~; ]", each)[0]) for each in wanted}
    assert names - set(pinned()) == set()


@pytest.mark.parametrize("folder", LONGEST)
def test_no_file_grows_past_reading(folder: str) -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in files()
        if path.relative_to(ROOT).parts[0] == folder
        and path.suffix in (".py", ".sql", ".js", ".css")
        and (count := len(path.read_text().splitlines())) > LONGEST[folder]
    }
    assert long == {}
