import io

from common.training import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def show(stream, **changes):
    with progress.ProgressBar("fit", 40, 10, stream=stream, **changes) as bar:
        bar.advance(11, 0.5, 1234.0)
        bar.note("rec/NDCG@5", 0.25)
    return stream.getvalue()


def test_plain_lines_away_from_a_terminal(monkeypatch):
    text = show(io.StringIO())
    assert text.count("\n") == 1  # the evaluation's; a step's own line waits for its time
    for part in ("fit", "step 11/40", "loss 0.5000", "examples/s 1,234", "rec/NDCG@5 0.2500"):
        assert part in text
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    assert show(io.StringIO()).count("\n") == 2


def test_a_bar_on_a_terminal():
    text = show(Terminal())
    assert "11/40" in text
    assert "loss=0.5000" in text
    assert "rec/NDCG@5=0.2500" in text


def test_nothing_when_switched_off():
    assert show(Terminal(), show=False) == ""
    assert show(io.StringIO(), show=False) == ""
