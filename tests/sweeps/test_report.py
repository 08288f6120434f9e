"""The report: pages in a real browser, and the same trials in other programs' formats."""

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conf.folder import RunFolder
from launcher.cli import main as launcher
from sweeps.cli import main
from sweeps.folder import SweepFolder
from tests.launcher import folders
from tests.slurm.cluster.commands import ClusterError
from tests.sweeps import results
from tests.sweeps.browser import Browser, browser, chromium

Capture = pytest.CaptureFixture[str]
HOSTILE = "</script><script>window.owned=1</script><img src=x onerror=window.owned=1><b>&amp;"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        chromium()
    except ClusterError as error:
        pytest.skip(str(error))
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    """A grid with its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        folder = results.grid(tmp_path_factory.mktemp("runs"))
        assert main(["report", str(folder.path)]) == 0
    return folder


@pytest.fixture(autouse=True)
def no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")


def is_fine(chrome: Browser, page: Path, scheme: str = "light") -> None:
    """Open a page; it asks for nothing but itself and complains of nothing."""
    chrome.open(page, scheme)
    assert chrome.requests == [page.as_uri()]
    assert chrome.complaints == []


def picture(chrome: Browser) -> Image.Image:
    return Image.open(io.BytesIO(chrome.picture())).convert("RGB")


def colours(shown: Image.Image) -> int:
    return len(shown.getcolors(1 << 24) or [])


@pytest.mark.parametrize(("scheme", "ground"), [("light", (255, 255, 255)), ("dark", (20, 23, 28))])
def test_a_sweeps_page_in_a_browser(
    scheme: str, ground: tuple[int, int, int], sweep: SweepFolder, chrome: Browser
) -> None:
    is_fine(chrome, sweep.report / "report.html", scheme)
    shown = picture(chrome)
    assert shown.getpixel((2, 2)) == ground
    assert colours(shown) > 500
    drawn = chrome.value("Object.fromEntries([...document.querySelectorAll('.plot')].map(plot => [plot.id, "
                         "plot.querySelectorAll('.trace path').length]))")  # fmt: skip
    assert drawn.keys() == {"eval_curves", "parallel", "importance0", "hours0", "train_curves"}
    assert min(drawn.values()) >= 3
    assert drawn["parallel"] >= 17


def test_what_a_sweeps_page_says(sweep: SweepFolder, chrome: Browser) -> None:
    is_fine(chrome, sweep.report / "report.html")
    rows = chrome.value("[...document.querySelectorAll('#trials tbody tr')].map(row => row.innerText)")
    assert len(rows) == 9
    assert rows[0].split() == [
        "1",
        "16",
        "0.001",
        "2.0075",
        "±",
        "0.0035",
        "2",
        "100/100",
        "16",
        "2",
        "completed",
        "8",
        "9",
    ]
    assert "out of memory: rank 3: CUDA out of memory" in chrome.value("document.getElementById('failures').innerText")
    text = chrome.value("document.body.innerText")
    assert "adapter.r=16 method.learning_rate=0.001 seed=1" in text
    links = chrome.value("[...document.querySelectorAll('a')].map(link => link.href)")
    assert len(links) == 18 + 1 + 3
    for link in links:
        assert Path(link.removeprefix("file://")).exists(), link


def test_a_click_sorts_the_table(sweep: SweepFolder, chrome: Browser) -> None:
    is_fine(chrome, sweep.report / "report.html")
    heading = "document.querySelectorAll('#trials th')[1]"
    column = "[...document.querySelectorAll('#trials tbody tr')].map(row => Number(row.cells[1].innerText))"
    chrome.value(f"{heading}.click()")
    assert chrome.value(column) == [8, 8, 8, 16, 16, 16, 32, 32, 32]
    chrome.value(f"{heading}.click()")
    assert chrome.value(column) == [32, 32, 32, 16, 16, 16, 8, 8, 8]


def test_a_runs_page_in_a_browser(chrome: Browser, capsys: Capture) -> None:
    run = results.trial(results.sweep(Path("runs")), {"adapter.r": 8})
    results.ended(results.begun(run, last=40), "preempted", message="SIGTERM from Slurm")
    results.completed(folders_of_attempt(run), 2.0)
    (run.checkpoints / "step-00000100").mkdir(parents=True)
    assert launcher(["report", run.id, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["id"], told["report"]) == ("run", run.id, str(run.path / "report.html"))
    is_fine(chrome, run.path / "report.html")
    assert colours(picture(chrome)) > 300
    plots = chrome.value("[...document.querySelectorAll('.plot')].map(plot => plot.id)")
    assert plots == ["loss", "learning_rate", "grad_norm", "seconds", "timeline"]
    attempts = chrome.value("document.getElementById('attempts').innerText")
    assert "preempted: SIGTERM from Slurm" in attempts
    assert "checkpoint after step 100" in chrome.value("document.getElementById('files').innerText")
    assert "GPU-hours" in chrome.value("document.getElementById('plan').innerText")


def folders_of_attempt(run: RunFolder) -> RunFolder:
    """The first attempt is kept as the second, so that another first one can be made."""
    run.attempt_folder(1).rename(run.attempt_folder(2))
    record = json.loads((run.attempt_folder(2) / "attempt.json").read_text()) | {"attempt": 2}
    (run.attempt_folder(2) / "attempt.json").write_text(json.dumps(record))
    return run


@pytest.mark.parametrize("state", ["empty", "waiting", "running", "failed"])
def test_a_page_of_a_sweep_in_any_state(state: str, chrome: Browser) -> None:
    sweep = results.sweep(Path("runs"))
    if state != "empty":
        run = results.trial(sweep, {"x": 1})
    if state == "running":
        results.begun(run, last=30)
    if state == "failed":
        results.failed(run)
    assert launcher(["report", "ranks"]) == 0
    is_fine(chrome, sweep.report / "report.html")
    text = chrome.value("document.body.innerText")
    assert ("without trials yet" if state == "empty" else f"1 {state}") in text


def test_hostile_names_stay_text(chrome: Browser) -> None:
    sweep = results.sweep(Path("runs"), words=[["model=m", f"data.path={HOSTILE}"]])
    for x in range(4):
        results.completed(results.trial(sweep, {"data.path": f"{HOSTILE}{x}", HOSTILE: x}), 1.0 + x)
    results.failed(results.trial(sweep, {"data.path": HOSTILE}), message=HOSTILE)
    for name in ("ranks", "trial-4"):
        assert launcher(["report", name]) == 0
    for page in (Path("runs/trial-4/report.html"), sweep.report / "report.html"):
        is_fine(chrome, page.absolute())
        assert chrome.value("window.owned ?? null") is None
        assert HOSTILE in chrome.value("document.body.innerText").replace("\n", "")
        assert chrome.value("document.querySelectorAll('body img').length") == 0
    assert HOSTILE in chrome.value("document.querySelector('#parallel .main-svg').textContent")


def test_a_front_is_drawn_and_marked(chrome: Browser) -> None:
    sweep = results.sweep(Path("runs"), objectives=[{"metric": "eval_loss"}, {"metric": "tokens_per_second"}])
    for x, (loss, speed) in enumerate(((1.0, 10.0), (2.0, 20.0), (3.0, 5.0))):
        results.completed(results.trial(sweep, {"x": x}), loss, tokens_per_second=speed)
    assert main(["report", "ranks"]) == 0
    is_fine(chrome, sweep.report / "report.html")
    assert chrome.value("document.querySelectorAll('#front .trace path').length") == 3
    assert chrome.value("document.querySelectorAll('tr.winner').length") == 2


def test_the_page_loads_nothing_by_its_own_word(sweep: SweepFolder) -> None:
    text = (sweep.report / "report.html").read_text()
    assert "default-src 'none'" in text
    assert (
        re.findall(r"<(?:script|img|iframe)[^>]+src=|<link[^>]+href=(?!\"data:)", text.partition("<script>")[0]) == []
    )


def test_csv_json_and_parquet_hold_the_same_trials(sweep: SweepFolder) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(sweep.report / "trials.parquet")
    assert len(frame) == 18
    best = frame[frame["rank"] == 1]
    assert best["param.adapter.r"].tolist() == [16, 16]
    assert best["eval_loss"].mean() == pytest.approx(2.0075)
    assert frame.groupby("param.method.learning_rate")["eval_loss"].mean().idxmin() == 1e-3
    with (sweep.report / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["eval_loss"] or "nan") for row in rows] == pytest.approx(frame["eval_loss"].tolist(), nan_ok=True)
    assert rows[16]["message"] == "rank 3: CUDA out of memory"
    told = json.loads((sweep.report / "trials.json").read_text())
    assert [trial["run_id"] for trial in told["trials"]] == frame["run_id"].tolist()


def test_values_of_several_types_fit_a_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    sweep = results.sweep(Path("runs"))
    for value in (None, 3, "all", [1, 2], True):
        results.trial(sweep, {"x": value})
    assert main(["report", "ranks"]) == 0
    frame = pandas.read_parquet(sweep.report / "trials.parquet")
    assert frame["param.x"].tolist()[1:] == ["3", "all", "[1,2]", "true"]


def test_tensorboard_shows_the_same_sweep(sweep: SweepFolder) -> None:
    assert main(["report", str(sweep.path)]) == 0  # a second time: the first one's files are gone, not doubled
    assert [each.name for each in sweep.report.iterdir() if each.name.startswith(".")] == []
    groups = session_groups(sweep.report / "tensorboard")
    assert len(groups) == 18
    best = min(groups, key=lambda group: group["metrics"].get("eval_loss", 9))
    assert best["hparams"] == {"adapter.r": 16.0, "method.learning_rate": 1e-3, "seed": 1.0}
    assert best["metrics"]["eval_loss"] == pytest.approx(2.005)
    statuses = [group["status"] for group in groups]
    assert (statuses.count("STATUS_SUCCESS"), statuses.count("STATUS_FAILURE")) == (16, 1)


def session_groups(logs: Path) -> list[dict[str, Any]]:
    """What TensorBoard's HParams plugin answers for a folder."""
    from google.protobuf.json_format import MessageToDict
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    multiplexer = EventMultiplexer(tensor_size_guidance={"tensors": 10})
    multiplexer.AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    backend = backend_context.Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(logs))))
    context = RequestContext()
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100)
    request.allowed_statuses.extend(api_pb2.Status.values())
    experiment = backend.experiment_from_metadata(
        context, "", True, backend.hparams_metadata(context, ""),
        backend.hparams_from_data_provider(context, "", limit=None),
    )  # fmt: skip
    for info in experiment.metric_infos:
        request.col_params.add(metric=info.name)
    handler = list_session_groups.Handler(context, backend, "", request)
    found = MessageToDict(handler.run(), preserving_proto_field_name=True)["session_groups"]
    return [
        {
            "hparams": group["hparams"],
            "metrics": {value["name"]["tag"]: value["value"] for value in group.get("metric_values", [])},
            "status": group["sessions"][0].get("status"),
        }
        for group in found
    ]


def test_a_report_imports_no_torch(sweep: SweepFolder) -> None:
    script = (
        "import sys; from sweeps.cli import main; main(['report', sys.argv[1]]); "
        "print([name for name in ('torch', 'tensorflow', 'transformers') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(sweep.path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines() == [str(sweep.report / "report.html"), "[]"]


def test_an_unknown_name_is_said_with_the_nearest(capsys: Capture) -> None:
    folders.run(Path("runs"), "mine")
    results.sweep(Path("runs"))
    assert launcher(["report", "mime"]) == 2
    assert "did you mean mine" in capsys.readouterr().err
    assert launcher(["report", "rank"]) == 2
    assert "did you mean ranks" in capsys.readouterr().err
