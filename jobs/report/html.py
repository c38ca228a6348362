"""A page from a template: complete in itself, with charts that answer to the pointer and a policy in its head that
forbids all else.

Scripts run by their digests alone, so that a name which slipped through as markup could not run either.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from imagefeed.jobs.report.vega import Chart, library, static_svg

UNITS = ("bytes", "kB", "MB", "GB", "TB")
TEMPLATES = Path(__file__).with_name("templates")
STYLE = TEMPLATES / "page.css"  # of every page


def page(template: str, *, charts: Sequence[Chart], **values: Any) -> str:
    """The page of a template with the values that it names, and its `charts` by their names. The same give the same.

    Raises `jinja2.UndefinedError` for a name that the template uses and that is not given.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "css": css,
        "count": count,
        "size": size,
        "number": number,
        "root": root,
    }
    scripts = [in_element(library()), (TEMPLATES / "charts.js").read_text()] if charts else []
    return environment.get_template(template).render(
        charts={each.name: drawn(each) for each in charts},
        style=Markup(STYLE.read_text()),
        scripts=[Markup(script) for script in scripts],
        script_policy=Markup(" ".join(map(digest_source, scripts)) or "'none'"),
        **values,
    )


def drawn(chart: Chart) -> dict[str, Any]:
    """A chart for a template: its picture, and what draws it anew."""
    spec = json.dumps(chart.spec, separators=(",", ":")).replace("<", "\\u003c")
    return {
        "name": chart.name,
        "title": chart.title,
        "description": chart.description,
        "svg": Markup(static_svg(chart)),
        "spec": Markup(spec),
    }


def in_element(script: str) -> str:
    """A script that may stand in an element. Raises `ValueError` where something in it would end that element."""
    found = re.search(r"</script|<!--|<script", script, re.IGNORECASE)
    if found:
        raise ValueError(f"the script of this version of vl-convert-python holds {found[0]}: install another version")
    return script


def digest_source(script: str) -> str:
    """What a Content-Security-Policy calls a script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


# Filters


def percent(share: float, digits: int = 1) -> str:
    """A share, 0 to 1, for people: the number and its sign stay on one line."""
    return f"{100 * share:.{digits}f}\u00a0%"


def css(share: float) -> str:
    """A share, 0 to 1, as a length in a style."""
    return f"{100 * share:.2f}%"


def count(number: int) -> str:
    """A count with narrow spaces between the thousands, which no line breaks at."""
    return f"{number:,}".replace(",", "\u202f")


def size(number: float) -> str:
    """Bytes for people."""
    power = 0
    while number >= 1000 and power < len(UNITS) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.3g}\u00a0{UNITS[power]}"


def number(value: float, digits: int = 4) -> str:
    """A number to some digits, zeros among them, so that those of a column are alike."""
    return f"{value:#.{digits}g}".rstrip(".")


def root(value: float) -> float:
    """The square root, of a variance for its deviation; 0 for one that rounding made negative."""
    return max(0.0, value) ** 0.5
