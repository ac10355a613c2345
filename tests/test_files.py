"""Files that are met whole."""

from anil_tf import files


def test_a_file_is_replaced_in_one_piece(tmp_path):
    path = tmp_path / "flags.txt"
    files.write_atomically(str(path), "one\n")
    with path.open() as reader:
        files.write_atomically(path, "two\n")
        assert reader.read() == "one\n"
    assert path.read_text() == "two\n"
    assert [p.name for p in tmp_path.iterdir()] == ["flags.txt"]
