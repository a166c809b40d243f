"""What the documents say of the tests is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|bus|schemas|producers|consumers|docs|bench|deploy)/[\w./-]+)`", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert [link for link in linked if not (document.parent / link).exists()] == []


def test_the_tests_that_the_threat_model_names_exist() -> None:
    text = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    claims = re.findall(r"`(tests/[\w/]+\.py)`(?:: ((?:\w+_\w+(?:, )?)+))?", text)
    assert len(claims) > 20
    for path, names in claims:
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in filter(None, names.split(", ")):
            assert f"def test_{name}(" in source, f"{path} has no test_{name}"


def test_the_index_of_decisions_is_complete() -> None:
    folder = ROOT / "docs" / "adr"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in folder.glob("0*.md") if path.name not in index] == []
