import json
import math
from pathlib import Path

import pytest

from armdigits.errors import BadInput
from armdigits.files import read_bytes, read_json, write_bytes, write_csv, write_json


def test_a_written_file_is_whole_and_alone_in_its_folder(folder):
    write_bytes(Path("new/file"), b"content")
    assert Path("new/file").read_bytes() == b"content"
    assert [path.name for path in Path("new").iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_file_and_no_other(folder):
    write_bytes(Path("file"), b"old")
    with pytest.raises(TypeError):
        write_bytes(Path("file"), "text is no bytes")
    assert Path("file").read_bytes() == b"old"
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_json_keeps_order_and_refuses_what_is_no_json(folder):
    write_json(Path("a.json"), {"b": 1, "a": 0.1})
    assert list(json.loads(Path("a.json").read_text())) == ["b", "a"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(Path("a.json"), {"loss": math.nan})
    assert read_json(Path("a.json"), "train") == {"b": 1, "a": 0.1}


def test_a_table_keeps_every_digit(folder):
    write_csv(Path("a.csv"), ("epoch", "loss"), [(1, 0.1 + 0.2)])
    assert Path("a.csv").read_text() == "epoch,loss\n1,0.30000000000000004\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; run: dvc repro train"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "expected a JSON object; run: dvc repro --force train"),
    ],
)
def test_a_bad_file_names_itself_and_the_stage_to_run(folder, content, message):
    if content is not None:
        Path("x.json").write_bytes(content)
    with pytest.raises(BadInput, match="^x.json: ") as caught:
        read_json(Path("x.json"), "train")
    assert message in str(caught.value)


def test_a_folder_in_the_place_of_a_file_is_bad_input(folder):
    Path("x").mkdir()
    with pytest.raises(BadInput, match=r"x: cannot be read \(Is a directory\)"):
        read_bytes(Path("x"), "train")


def test_an_entry_that_is_not_there_names_the_file_however_deep_it_is_missed(folder):
    write_json(Path("x.json"), {"int8": {"bytes": 1}})
    content = read_json(Path("x.json"), "quantize")
    with pytest.raises(BadInput, match=r"^x.json: it has no entry accuracy; run: dvc repro --force quantize$"):
        content["int8"]["accuracy"]
