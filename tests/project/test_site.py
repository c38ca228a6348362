"""Pages, links and project files agree with each other and with the code. `./run docs` builds the site; it needs
packages of its own, so what can be known without them is asked here."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import imagefeed

ROOT = Path(__file__).parents[2]
TOP = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md"]
DOCS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What links may name in a page: its headings, as GitHub and mkdocs spell them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [*TOP, *DOCS])
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", prose(page))):
        if target.startswith(("http://", "https://")):
            continue
        other = page.parent / target if target else page
        assert other.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(other), f"{name}: {target}#{anchor}"


def paths(entry: object) -> list[str]:
    """The pages of a navigation of mkdocs."""
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    assert hasattr(children, "__iter__")
    return [path for child in children for path in paths(child)]


def test_the_site_leads_to_every_page_once() -> None:
    pages = [name.removeprefix("docs/") for name in DOCS]
    tops = ["index.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
    assert sorted(paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])) == sorted([*pages, *tops])


def test_the_reference_is_the_public_interface() -> None:
    found = re.findall(r"^::: imagefeed\.(\w+)$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE)
    assert sorted(found) == sorted([*imagefeed.__all__, "random", "ffcv", "webdataset"])


def test_the_notebook_is_its_page() -> None:
    """Whose examples run: tests/project/test_docs.py."""
    cells = json.loads((ROOT / "docs/examples/first-dataset.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    page = (ROOT / "docs/first-dataset.md").read_text()
    assert code == [block.rstrip() for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]


def test_manifests_parse() -> None:
    page = (ROOT / "docs/clusters.md").read_text()
    kinds = [
        document["kind"]
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        for document in yaml.safe_load_all(block)
    ]
    assert kinds == ["Job", "Service", "Job"]


def test_one_version_everywhere() -> None:
    version = PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert re.findall(r"^## ([0-9.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0] == version
    assert f"imagefeed-{version}-py3-none-any.whl" in (ROOT / "docs/install.md").read_text()


def test_readme_is_a_page_for_strangers() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 80 and text.count("![") == 1
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "Install"


def test_examples_say_how_they_are_started() -> None:
    for path in (ROOT / "docs/examples").glob("*.py"):
        assert f"docs/examples/{path.name}" in (ast.get_docstring(ast.parse(path.read_text())) or "")
