"""A run made by hand, which the tests of the report have too."""

from tests.report.conftest import small_run

__all__ = ["small_run"]
