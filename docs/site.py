"""Hooks of mkdocs.yml: pages at the top of the checkout join the site, and links that lead out of it become paths."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
TOP = {"README.md": "index.md", "CONTRIBUTING.md": "CONTRIBUTING.md", "SECURITY.md": "SECURITY.md"}
TOP["CHANGELOG.md"] = "CHANGELOG.md"


def on_files(files: Files, config: Any) -> Files:
    """Adds README as the first page, and the other pages of the top level."""
    for source, page in TOP.items():
        text = re.sub(r"\]\(docs/", "](", (ROOT / source).read_text())
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(text: str, **_: Any) -> str:
    """Takes names from fences (```python setup), and makes code of links to what the site does not hold."""
    text = re.sub(r"^```(\w+) \w+$", r"```\1", text, flags=re.MULTILINE)
    text = re.sub(r"\]\(\.\./(README|CONTRIBUTING|SECURITY|CHANGELOG)\.md", lambda at: f"]({TOP[at[1] + '.md']}", text)
    outside = r"(?<!!)\[([^\]]+)\]\((?:\.\./)?((?:benchmarks|findings|LICENSE|CITATION)[^)#]*)(?:#[^)]*)?\)"
    text = re.sub(outside, r"\1 (`\2`)", text)
    return re.sub(r"!\[([^\]]+)\]\(\.\./docs/", r"![\1](", text)
