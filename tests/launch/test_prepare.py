"""The command: its report, its exit codes, and the commands of docs/your_data.md."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common.data.folder import load_dataset
from launch.command import run_command
from launch.prepare import main

ROOT = Path(__file__).resolve().parents[2]
BEAUTY = ROOT / "../shared/data/amazon_beauty_2014"


def _prepare(*words: object) -> int:
    return run_command(main, [str(word) for word in words])


def _fails(capsys: pytest.CaptureFixture[str], message: str, *words: object) -> None:
    """Exit code 2 and one line that says what to mend."""
    assert _prepare(*words) == 2
    printed = capsys.readouterr().err
    assert re.fullmatch(f"error: .*{message}.*\n", printed), printed


def test_synthetic_data_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "tiny"
    splits = "--splits=leave_one_out_joint,global_time"
    args = ("--source=synthetic", "--preset=tiny", "--negatives=20", splits, f"--out={out}")
    assert _prepare(*args, "--seed=3", "--verbose") == 0
    printed = capsys.readouterr().out
    data = load_dataset(out)
    assert data.sha256 in printed
    assert "users         64," in printed
    assert "items         120\n" in printed
    assert f"rec           {len(data.rec.user):,} events" in printed
    assert "split         global_time" in printed
    assert "lists         uniform20, popularity20, bm25_20" in printed
    assert data.manifest["seeds"] == {"lists": 3}

    _fails(capsys, "is not empty; use another --out or --overwrite", *args)
    assert _prepare(*args, "--seed=4", "--overwrite") == 0
    assert load_dataset(out).sha256 != data.sha256


def test_settings_reach_the_folder(tmp_path: Path):
    tiny = ("--source=synthetic", "--preset=tiny", "--negatives=10", f"--out={tmp_path / 'out'}")
    assert _prepare(*tiny, "--history_order=source", "--splits=global_time") == 0
    data = load_dataset(tmp_path / "out", "global_time")
    assert data.history_order == "source"
    cuts = data.manifest["splits"]["global_time"]
    t1, t2 = cuts["t1"] - 1_000_000_000, cuts["t2"] - 1_000_000_000
    again = ("--overwrite", "--splits=global_time", f"--t1={t1}", f"--t2={t2}")
    assert _prepare(*tiny, *again) == 0
    data = load_dataset(tmp_path / "out", "global_time")
    assert (data.rec.ts[data.rows["rec", "valid"]] >= t1).all()
    assert (data.rec.ts[data.rows["rec", "valid"]] < t2).all()
    assert data.manifest["splits"]["global_time"]["t2"] == t2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--source: missing"),
        (["--source=synthetic"], "--out: missing"),
        (["--sorce=synthetic"], "Unknown command line flag 'sorce'"),
        (["--source=kuaisar"], "should be one of <synthetic\\|tables\\|amazon_2014>"),
        (["--source=synthetic", "--out=o", "--seed=x"], "--seed=x"),
        (["--source=synthetic", "--out=o", "--seed=-1"], "--seed=-1: is negative"),
        (["--source=synthetic", "--out=o", "o2"], "'o2' is no flag"),
        (["--source=synthetic", "--out=o", "--raw=r"], "--raw: synthetic data has no raw files"),
        (["--source=synthetic", "--out=o", "--order=f"], "--order: is for --source=amazon_2014"),
        (["--source=tables", "--out=o", "--preset=tiny"], "--preset: is for --source=synthetic"),
        (["--source=tables", "--out=o"], "--raw: missing"),
        (["--source=synthetic", "--out=o", "--columns=user=u"], "--columns: is for --source=table"),
        (["--source=synthetic", "--out=o", "--add_missing_items"], "--add_missing_items: is for"),
        (["--source=tables", "--raw=.", "--out=o", "--columns=usr=u"], "did you mean user"),
        (["--source=tables", "--raw=.", "--out=o", "--list_separator=ab"], "use one sign"),
        (["--source=tables", "--raw=nowhere", "--out=o"], "nowhere: no such folder"),
        (["--source=amazon_2014", "--raw=nowhere", "--out=o"], "nowhere: no such folder"),
        (["--source=synthetic", "--preset=tny", "--out=o"], "no such preset"),
        (["--source=synthetic", "--out=o", "--splits=global"], "there is no split 'global'"),
        (["--source=synthetic", "--out=o", "--t1=5"], "--t1: is for the split global_time"),
        (["--source=synthetic", "--out=o", "--negatives=-1"], "--negatives=-1: is negative"),
        (["--source=amazon_2014", "--raw=.", "--out=o", "--search_share=2"], "search_share 2.0"),
        (
            ["--source=synthetic", "--preset=tiny", "--negatives=119", "--out=o"],
            "split leave_one_out_joint, uniform119, rec row .* lower --negatives",
        ),
        (
            ["--source=synthetic", "--preset=tiny", "--splits=global_time", "--t1=1", "--t2=2",
             "--out=o"],
            "split global_time: has no train rows",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _fails(capsys, message, *words)
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_heavy_import():
    code = (
        "import sys; from launch.prepare import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as exit: assert exit.code == 0\n"
        "assert not {'numpy', 'pyarrow', 'jax'} & set(sys.modules), 'a heavy import'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--history_order" in done.stdout


def test_the_commands_of_your_data_work(tmp_path: Path):
    page = (ROOT / "docs/your_data.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    # A symbolic link to Python loses the packages of its environment: name them.
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        ["bash", "-euc", block],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    data = load_dataset(tmp_path / "datasets/mine")
    assert (data.n_users, data.n_items, data.n_queries) == (4, 6, 2)
    assert data.load_lists("rec", "test")["uniform2"].items.shape == (3, 3)
    assert data.sha256 in done.stdout
    assert _looks(done.stdout) == [
        "1 of 1 (100.0 %) clicks have the time of the interaction that they are",
        "leave_one_out_joint: 3 users have a rec test row, fewer than 50",
        "leave_one_out_joint: 2 of 3 (66.7 %) rec test rows have an item of no train row",
        "leave_one_out_joint: 0 users have a search test row, fewer than 50",
    ]


def _looks(printed: str) -> list[str]:
    return re.findall("^  look: (.*)$", printed, re.MULTILINE)


def test_a_report_says_what_to_look_at_and_what_to_do(tmp_path, monkeypatch, capsys):
    """Two users buy, one of them item a twice; two others search, and neither clicks or buys."""
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    Path("raw/items.csv").write_text("item\na\nb\nc\n")
    bought = ["u,a,100", "u,a,200", "u,b,300", "v,b,100", "v,c,200", "v,a,300"]
    Path("raw/interactions.csv").write_text("\n".join(["user,item,time", *bought]))
    Path("raw/searches.csv").write_text("user,query,time\nx,tea pot,100\ny,!?,100\n")
    words = ["--source=tables", "--raw=raw", "--out=out", "--negatives=0", "--overwrite"]
    assert _prepare(*words) == 0
    short = capsys.readouterr().out
    assert _looks(short) == [
        "most times are outside of 1995 to 2100",
        "1 of 6 (16.7 %) interactions repeat an earlier one of their user and item",
        "2 of 2 (100.0 %) searches have no click",
        "1 of 2 (50.0 %) queries have no word",
        "3 of 3 (100.0 %) items have no title",
        "2 of 2 (100.0 %) users who search take nothing",
        "leave_one_out_joint: 2 users have a rec test row, fewer than 50",
    ]
    assert "      Do both tables call a user by the same id?\n" in short
    assert short.splitlines()[-2] == "  next: python -m launch.audit --data=out looks for leaks"
    assert "note          split leave_one_out_joint: no candidate lists, as asked for" in short
    hidden = int(re.search(r"^  (\d+) more figures: --verbose$", short, re.MULTILINE)[1])
    assert _prepare(*words, "--verbose") == 0
    whole = capsys.readouterr().out
    assert _looks(whole) == _looks(short)
    assert "rec cold      test rows whose item no train row has: 0 (0.0 %), 0 items" in whole
    assert len(whole.splitlines()) == len(short.splitlines()) + hidden - 1


def test_the_errors_of_your_data_are_real(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/your_data.md").read_text()
    files = dict(re.findall(r"cat > (my_logs/\w+\.csv) <<'END'\n(.*?)END\n", page, re.DOTALL))
    assert len(files) == 3
    monkeypatch.chdir(tmp_path)
    Path("my_logs").mkdir()
    changes = [
        ("interactions", "ann,pot1", "ann,pot9"),
        ("interactions", "2024-03-07T12:00:00", "yesterday"),
        ("searches", "user,query", "usr,query"),
        ("items", "item", "item"),
    ]
    errors = re.findall(r"^    (error: .*)$", page, re.MULTILINE)
    assert len(errors) == len(changes)
    for (name, old, new), error in zip(changes, errors, strict=True):
        for path, content in files.items():
            changed = content.replace(old, new) if name in path else content
            Path(path).write_text(changed)
        assert _prepare("--source=tables", "--raw=my_logs", "--out=out") == 2
        assert capsys.readouterr().err.strip() == error


def test_options_of_tables_reach_the_reader(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/your_data.md").read_text()
    files = dict(re.findall(r"cat > my_logs/(\w+)\.csv <<'END'\n(.*?)END\n", page, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    for name, content in files.items():
        changed = content.replace("user,item,time", "who,item,time").replace("|", ";")
        Path(f"raw/{name}.csv").write_text(
            changed.replace("cup2,Coffee cup,Kitchen > Cups,Clear", "")
        )
    words = ["--source=tables", "--raw=raw", "--out=out", "--negatives=2", "--add_missing_items",
             "--list_separator=;", "--columns=interactions.user=who"]  # fmt: skip
    assert _prepare(*words) == 0
    printed = capsys.readouterr().out
    assert (
        "note          items.csv: 1 items were added that only events name, such as 'cup2'"
        in printed
    )
    assert (
        "interactions.csv: time is ISO 8601 without a zone, taken as UTC; 2024-03-01 08:00:00 to"
        in (printed)
    )


def test_several_faults_are_several_lines_and_leave_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    Path("raw/items.csv").write_text("item\na\na\n")
    Path("raw/interactions.csv").write_text("user,item,time\nu,b,1700000000\nu,a,20231114\n")
    assert _prepare("--source=tables", "--raw=raw", "--out=out") == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "error: raw: 3 faults; mend them, then start the same command again"
    assert [line.partition(",")[0] for line in lines] == [
        "  raw/interactions.csv", "  raw/items.csv", "  raw/interactions.csv",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


@pytest.mark.skipif(not BEAUTY.is_dir(), reason="the Beauty files are not here")
def test_beauty_report_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "beauty"
    args = ("--source=amazon_2014", f"--raw={BEAUTY}", "--category=Beauty", f"--out={out}")
    assert _prepare(*args, "--verbose") == 0
    printed = capsys.readouterr().out
    for line in (
        "users         22,363, 22,363 of them in both services",
        "items         12,101",
        "queries       252 of 274 words",
        "rec           198,502 events, 198,502 of them positive",
        "time          resolution day, 57.5 % of events tied",
        "rec rows      train 142,628, valid 17,452, test 17,452; 20,970 positives are history only",
        "events before a test row (25/50/75/95/100 %): 4/5/8/22/203 rec",
        "test rows whose item no train row has: 219 (1.3 %), 33 items",
    ):
        assert line in printed
    lists = load_dataset(out).load_lists("rec", "test")
    assert lists["uniform99"].sha256.startswith("461f872fbb70fb06")
    assert lists["popularity99"].sha256.startswith("bac91ff0df86b9c0")
