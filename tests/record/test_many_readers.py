"""One writer and several readers at once, a few seconds of it; ``benchmarks/readers.py`` runs it for longer."""

from benchmarks.readers import looked_at, measure, values, write

from forkpoint.record import open_run


def test_no_reader_sees_what_was_never_written(tmp_path):
    found = measure(tmp_path / "run", seconds=5, readers=4, pace=0.01, windows=3, pause=0)
    assert found["faults"] == [] and found["reads"] >= 4 and found["steps"] >= 2


def test_the_readers_would_notice(create):
    """A negative control: a gap, and a value that does not follow from its step."""
    writer = create()
    write(writer, 1)
    assert list(looked_at(open_run(writer.path), 0)) == []
    writer.metrics("train", 3, values(4))
    assert list(looked_at(open_run(writer.path), 0)) == ["steps 2 after 0", "values of step 3"]
