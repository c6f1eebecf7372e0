import pytest

from photospec.utils.files import naming, replacing


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_whole_and_keeps_its_ending(tmp_path):
    path = tmp_path / "table.csv"
    with replacing(path) as temporary:
        assert temporary.suffix == ".csv"
        assert temporary.parent == tmp_path  # a rename across file systems is a copy
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_output(tmp_path):
    path = tmp_path / "absent" / "table.csv"
    with pytest.raises(OSError, match=r"table\.csv") as caught, replacing(path) as temporary:
        temporary.write_text("new")
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="name"), naming("name"):
        raise OSError(28, "No space left on device")
