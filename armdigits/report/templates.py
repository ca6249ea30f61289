"""What the pages share: their templates, and the styles and scripts that they contain."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from armdigits.report.charts import PALETTE

PACKAGE = Path(__file__).parents[1]


def template(name: str) -> Template:
    """A template by its path in the package, with the palette, and filters for numbers."""
    environment = Environment(loader=FileSystemLoader(PACKAGE), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["percent"] = lambda share, digits=2: f"{share * 100:.{digits}f} %"
    environment.filters["thousands"] = lambda number: f"{number:,.0f}"
    environment.globals["palette"] = PALETTE
    return environment.get_template(name)


def package_files(*names: str) -> Markup:
    """The text of files of the package, to be put into a page as it is."""
    return Markup("\n".join((PACKAGE / name).read_text("utf-8") for name in names))  # noqa: S704 - files of this package
