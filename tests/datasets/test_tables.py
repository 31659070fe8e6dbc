from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from modhub.datasets import Dataset, load_dataset
from modhub.errors import InvalidData, MissingExtra

if TYPE_CHECKING:
    from pathlib import Path


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def write_parquet(path: Path, columns: dict[str, Any], *, metadata: dict[str, str] | None = None) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def problem(path: Path) -> str:
    """Return why a file is refused, without its path."""
    with pytest.raises(InvalidData) as caught:
        load_dataset(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def png(*, size: tuple[int, int] = (4, 3), shade: int = 0) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": "a.png"}


@pytest.mark.parametrize(
    "text",
    [
        "width,height,kind\n1,2,cat\n3,4.5,dog\n",
        "label,width,height\ncat,1,2\ndog,3,4.5\n",
        "width,label,height\n1,cat,2\n3,dog,4.5\n",
        "1,2,cat\n3,4.5,dog\n",
        "\ufeff1 , 2, cat\r\n\r\n3,4.5,dog",
    ],
)
def test_a_table_is_numbers_and_a_label(tmp_path: Path, text: str) -> None:
    data = load_dataset(write_csv(tmp_path / "pets.csv", text))
    expected = Dataset.of(np.array([[1, 2], [3, 4.5]]), y=np.array([0, 1]), classes=["cat", "dog"])
    assert (data.name, data.sha256) == ("pets", expected.sha256)


def test_whole_numbers_are_class_indices(tmp_path: Path) -> None:
    data = load_dataset(write_csv(tmp_path / "a.csv", "x,label\n0.5,2\n1e-3,0\n"))
    assert (data.labels.tolist(), data.classes, data.class_count) == ([2, 0], None, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("\n\n", "the table is empty"),
        ("a,b,label\n", "x: shape [0, 2] holds nothing"),
        ("label\ncat\n", "x: shape [1, 0] holds nothing"),
        ("a,b,label\n1,two,cat\n", "line 2, column 'b': 'two' is no number"),
        ("1,2,cat\n\n1,,cat\n", "line 3, column 2: '' is no number"),
        ("1,2,cat\n1,cat\n", "line 2: 2 cells, expected 3"),
        ("1,2,cat\n1,nan,cat\n", "x[1]: not a finite 32-bit number"),
        ("a,price\n1,2.5\n", "label column: '2.5' is no class: expected a whole number or a name"),
        ("a,label\n1,\n", "classes[0]: expected a name, got ''"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(tmp_path: Path, text: str, message: str) -> None:
    assert problem(write_csv(tmp_path / "a.csv", text)) == message


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 or not")
    assert problem(tmp_path / "a.csv").startswith("not a readable .csv file: ")
    assert problem(write_csv(tmp_path / "b.csv", "1" * 200_000)).startswith("not a readable .csv file: ")
    assert problem(tmp_path / "a.parquet").startswith("not a readable .parquet file: ")


def test_a_parquet_table_is_read_as_the_csv_would_be(tmp_path: Path) -> None:
    parquet = write_parquet(tmp_path / "a.parquet", {"label": ["cat", "dog"], "a": [1, 3], "b": [2.0, 4.5]})
    csv = write_csv(tmp_path / "a.csv", "label,a,b\ncat,1,2\ndog,3,4.5\n")
    assert load_dataset(parquet).sha256 == load_dataset(csv).sha256


def test_the_hubs_image_tables_are_read_with_their_class_names(tmp_path: Path) -> None:
    features = {"img": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"img": [png(shade=5), png(shade=9)], "label": [1, 0]}
    data = load_dataset(write_parquet(tmp_path / "a.parquet", columns, metadata=metadata))
    assert (data.shape, data.classes, data.labels.tolist()) == ((3, 3, 4), ("cat", "dog"), [1, 0])
    assert data.values[:, 0, 0, 0].tolist() == [5, 9]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [1, 2]}, "there is only one column, expected features and labels"),
        ({"a": pa.array([], pa.int64()), "label": pa.array([], pa.int64())}, "the table is empty"),
        ({"a": ["x", "y"], "label": [1, 2]}, "column 'a': holds <U1, expected numbers"),
        ({"a": [[1], [2]], "label": [1, 2]}, "column 'a': cannot use a column of list<element: int64>"),
        ({"a": [1, None], "label": [1, 2]}, "column 'a': 1 values are missing"),
        ({"a": [1, 2], "label": [1, None]}, "column 'label': 1 values are missing"),
        ({"a": [1, 2], "label": [1.0, 2.0]}, "y: cannot use float64 labels: expected whole numbers or names"),
        (
            {"a": [png(), png(size=(5, 5))], "label": [1, 2]},
            "column 'a', row 1: the image differs in size from the first",
        ),
        ({"a": [png(), None], "label": [1, 2]}, "column 'a', row 1: the image is missing"),
    ],
)
def test_a_parquet_table_that_cannot_be_used_says_where(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    assert problem(write_parquet(tmp_path / "a.parquet", columns)) == message


def test_an_unreadable_image_in_a_table_is_located(tmp_path: Path) -> None:
    columns = {"a": [png(), {"bytes": b"no image", "path": ""}], "label": [1, 2]}
    message = problem(write_parquet(tmp_path / "a.parquet", columns))
    assert message.startswith("column 'a', row 1: not a readable image: ")


@pytest.mark.parametrize("text", ["[", "[]", '{"info": {"features": {}}}', '{"info": {"features": {"label": 1}}}'])
def test_the_hubs_metadata_is_checked(tmp_path: Path, text: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"a": [1], "label": [0]}, metadata={"huggingface": text})
    assert problem(path).startswith("huggingface: the Hub's metadata cannot be read: ")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"a": [1], "label": [0]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as caught:
        load_dataset(path)
    assert str(caught.value) == (
        "reading .parquet files needs pyarrow, which is not installed: pip install 'modhub[parquet]'"
    )


def test_other_forms_do_not_load_pyarrow(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", "1,2,cat\n")
    code = (
        "import sys; from modhub.datasets import load_dataset; "
        "load_dataset(sys.argv[1]); print('pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
