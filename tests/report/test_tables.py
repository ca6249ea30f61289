import pytest

from armdigits.report.tables import markdown


def test_the_first_columns_are_aligned_left_and_the_others_right():
    assert markdown(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | --: |\n| x | 1 |"
    assert markdown(["a", "b"], [["x", "1"]], left=2).splitlines()[1] == "| --- | --- |"
    assert markdown(["a", "b"], [["x", "1"]], left=0).splitlines()[1] == "| --: | --: |"


def test_padded_columns_have_equal_widths():
    lines = markdown(["name", "n"], [["x", "1,000"], ["longer", "1"]], padded=True).splitlines()
    assert lines == ["| name   |     n |", "| ------ | ----: |", "| x      | 1,000 |", "| longer |     1 |"]


def test_a_bar_and_what_could_control_a_terminal_are_escaped_in_a_cell():
    assert markdown(["a"], [["x | y\x1b[2J\n"]]).splitlines()[2] == r"| x \| y\x1b[2J\n |"


def test_a_table_without_rows_has_its_header():
    assert markdown(["a", "b"], []) == "| a | b |\n| --- | --: |"


def test_a_row_that_is_shorter_than_the_header_is_refused():
    with pytest.raises(ValueError, match="expected 2 cells in each row"):
        markdown(["a", "b"], [["x"]])
