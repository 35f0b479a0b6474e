import json
import math
import struct
import sys

import pytest

from common.training.logbook import Logbook, cut_lines


def write_three(workdir, **changes):
    with Logbook(
        workdir, **{"step": 0, "evaluated": False, "tensorboard": False, **changes}
    ) as log:
        for step in (10, 20, 30):
            log.write("train", "fit", step, {"loss": 1.0 / step}, {"wait_share": 0.123456})
            log.write("valid", "fit", step, {"NDCG": step / 100}, {})


def read(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_line_has_step_stage_kind_values_and_timing(tmp_path):
    write_three(tmp_path)
    assert read(tmp_path)[0] == {
        "step": 10,
        "stage": "fit",
        "kind": "train",
        "values": {"loss": 0.1},
        "timing": {"wait_share": 0.1235},
    }


@pytest.mark.parametrize(
    ("step", "evaluated", "left"), [(20, True, 4), (20, False, 3), (0, False, 0), (30, True, 6)]
)
def test_lines_after_the_checkpoint_are_cut(tmp_path, step, evaluated, left):
    write_three(tmp_path)
    before = read(tmp_path)
    with Logbook(tmp_path, step, evaluated, tensorboard=False):
        pass
    assert read(tmp_path) == before[:left]


def test_a_line_cut_short_by_a_kill_goes_too(tmp_path):
    write_three(tmp_path)
    path = tmp_path / "metrics.jsonl"
    text = path.read_text()
    path.write_text(text[:-20])
    cut_lines(path, 30, True)
    assert path.read_text() == "".join(text.splitlines(keepends=True)[:5])


DAMAGE = {
    "no JSON": b'{"step": 20, "sta',
    "no UTF-8": b'{"step": 20, "kind": "\xff"}',
    "a list": b"[]",
    "no step": b'{"kind": "train"}',
    "a step that is a text": b'{"step": "20", "kind": "train"}',
    "deep": b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("bad", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_line_is_named_and_kept_aside(tmp_path, bad, capsys):
    write_three(tmp_path)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], bad + b"\n", *lines[3:]]))
    cut_lines(path, 20, True)
    assert path.read_bytes() == b"".join([*lines[:2], lines[3]])
    assert (tmp_path / "metrics.damaged.jsonl").read_bytes() == bad + b"\n"
    line = capsys.readouterr().err
    assert line.startswith(f"warning: {path}, row 3")
    assert line.endswith("; moved to metrics.damaged.jsonl, the rest stays\n")
    assert line.count("\n") == 1


def test_values_that_are_not_finite_are_null(tmp_path):
    with Logbook(tmp_path, 0, False, tensorboard=False) as log:
        log.write("train", "fit", 1, {"a": math.nan, "b": math.inf}, {})
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()
    assert read(tmp_path)[0]["values"] == {"a": None, "b": None}


def read_events(file):
    """The events of one file: a length of 8 bytes and its checksum before each, one after it."""
    from tensorboardX.proto.event_pb2 import Event

    data, at = file.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length


def test_tensorboard_has_the_same_points(tmp_path):
    pytest.importorskip("tensorboardX")
    write_three(tmp_path, tensorboard=True)
    (file,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    version, opening, *events = read_events(file)
    assert version.file_version == "brain.Event:2"
    assert (opening.step, opening.session_log.status) == (1, opening.session_log.START)
    found = {(e.step, v.tag): v.simple_value for e in events for v in e.summary.value}
    expected = {
        (line["step"], f"{line['kind']}/{name}"): value
        for line in read(tmp_path)
        for part in ("values", "timing")
        for name, value in line[part].items()
    }
    assert found == pytest.approx(expected, rel=1e-3)  # metrics.jsonl rounds the timing
    assert len(found) >= 6


def test_missing_tensorboardx_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    write_three(tmp_path, tensorboard=True)
    notice = capsys.readouterr().err
    assert notice.count("\n") == 1
    assert "tensorboardX is not installed" in notice
    assert len(read(tmp_path)) == 6
