import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from simfl.profile import bench
from simfl.profile.bench import Bench, load_module, needs, read
from simfl.profile.cases import build, cases
from simfl.profile.export import script
from simfl.profile.timing import Steps, measure

TINY: list[dict[str, Any]] = [
    {"layers": [["linear", 8, 4]], "input": [8], "batch": 1},
    {"layers": [["conv", 1, 2, 3], ["relu"]], "input": [1, 6, 6], "batch": 2, "first": True},
    {"layers": [["linear", 8, 4]], "input": [8], "batch": 4, "loss": "cross_entropy"},
]


@pytest.fixture(autouse=True)
def _threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "cases", lambda: TINY)


def small(path: Path, **options: Any) -> Bench:
    return Bench(path, budget_s=1.0, **options)


@pytest.mark.parametrize("case", cases(), ids=lambda c: f"{c['layers'][0][0]}-{c['batch']}")
def test_every_case_takes_steps_on_shapes(case: dict[str, Any]) -> None:
    assert needs(case) < 2**29  # so that a board of 1 GiB can measure most of them
    if needs(case) < 2**22:
        given = {"first": case.get("first", False), "loss": case.get("loss")}
        steps = Steps(build(case), case["input"], case["batch"], "cpu", **given)
        before = [p.detach().clone() for p in steps.module.parameters()]
        steps.train()
        steps.inference()
        assert len(before) == len(list(steps.module.parameters()))


def test_no_case_stands_twice() -> None:
    assert len({json.dumps(case) for case in cases()}) == len(cases())


def test_a_step_learns() -> None:
    torch.manual_seed(0)
    steps = Steps(nn.Linear(8, 4), [8], 16, "cpu")
    steps.optimizer = torch.optim.SGD(steps.module.parameters(), lr=0.1)

    def loss() -> float:
        out = steps.module(steps.x)
        return float(nn.functional.cross_entropy(out, steps.labels).detach())

    before = loss()
    for _ in range(20):
        steps.train()
    assert loss() < before


@pytest.mark.parametrize("word", ["coo", "csr"])
def test_a_sparse_layer_is_the_dense_one_with_holes_and_stays_sparse(word: str) -> None:
    case = {"layers": [[word, 12, 7, 0.4]]}
    layer = build(case)[0]  # type: ignore[index]
    dense = nn.Linear(12, 7)
    dense.load_state_dict({"weight": layer.weight.detach().to_dense(), "bias": layer.bias})
    steps = Steps(layer, [12], 5, "cpu", first=False, loss=None)
    x = steps.x.detach().clone().requires_grad_()
    dense(x).backward(steps.given)
    assert torch.allclose(layer(steps.x), dense(x), atol=1e-6)
    pattern = layer.weight.detach().to_dense() != 0
    steps.train()
    assert steps.x.grad is not None
    assert x.grad is not None
    assert torch.allclose(steps.x.grad, x.grad, atol=1e-5)
    assert dense.weight.grad is not None
    moved = layer.weight.detach().to_dense() - dense.weight.detach()
    # single precision leaves two digits of so small a step
    wanted = torch.where(pattern, -1e-6 * dense.weight.grad, torch.zeros(()))
    assert torch.allclose(moved, wanted, atol=2e-7)
    assert ((layer.weight.detach().to_dense() != 0) == pattern).all()


def test_twice_the_work_takes_longer() -> None:
    def seconds(side: int) -> float:
        steps = Steps(nn.Linear(side, side), [side], 64, "cpu")
        return float(measure(steps, "train", slot_s=0.05)["s"])

    assert 0 < seconds(64) < seconds(1024)


@pytest.mark.usefixtures("tiny")
def test_what_is_measured_is_kept_and_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.json"
    said: list[float] = []
    first = small(path, progress=lambda share, _: said.append(share)).run()
    assert [len(entry["train"]) for entry in first["cases"]] == [2, 2, 2]
    assert said == sorted(said)
    assert said[-1] == 1.0
    assert first["runtime_bytes"] >= first["import_bytes"] > 2**20
    assert first["copy_bytes_per_s"] > 1e6

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(bench, "measure", never)
    assert small(path).run() == first == read(path)


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_profile_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "p.json", [0]

    def interrupted(steps: Steps, sort: str, *, slot_s: float) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return measure(steps, sort, slot_s=slot_s)

    monkeypatch.setattr(bench, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small(path).run()
    kept = read(path)
    assert [len(entry["train"]) for entry in kept["cases"]] == [1, 0, 0]
    monkeypatch.setattr(bench, "measure", measure)
    done = small(path).run()
    assert done["cases"][0]["train"][0] == kept["cases"][0]["train"][0]
    assert all(len(entry["inference"]) == 2 for entry in done["cases"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PyTorch sees no GPU here; give --device cpu"):
        small(tmp_path / "p.json", device="cuda")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "elsewhere"}, "was measured with name elsewhere, this is"),
        ({"torch": "1.1"}, "was measured with torch 1.1, this is"),
        ({"threads": 3}, "was measured with threads 3, this is 1"),
    ],
)
def test_a_file_of_another_machine_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "p.json"
    found = small(path).run()
    path.write_text(json.dumps(found | {"host": found["host"] | change}))
    with pytest.raises(ValueError, match=message):
        small(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "simfl bench 1", "cases": [', "is not JSON, or not all of it"),
        ("[1, 2]", "is not a profile of this script"),
        ('{"format": "simfl bench 0"}', "is not a profile of this script"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        small(path)


def test_what_is_too_large_or_unknown_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {"layers": [["linear", 8, 4]], "input": [9], "batch": 3}
    slow = [{"layers": [["linear", 512, 512]], "input": [512], "batch": b} for b in (1, 500)]
    monkeypatch.setattr(bench, "cases", lambda: [odd, *slow])
    monkeypatch.setattr(bench, "needs", lambda case: 2**60 if case is None else 0)
    found = small(tmp_path / "p.json").run()
    reasons = {entry["case"]["batch"]: entry.get("skipped", "") for entry in found["cases"]}
    assert "mat1 and mat2" in reasons[3]
    assert reasons[500] == "a step would take more than 0.01 s; give a larger budget"
    assert not reasons[1]
    # what a larger budget allows is tried again
    found = Bench(tmp_path / "p.json", budget_s=30.0).run()
    assert [bool(e["train"]) for e in found["cases"]] == [True, False, True]
    monkeypatch.setattr(bench, "needs", lambda _: 2**60)
    found = small(tmp_path / "q.json").run()
    assert {e["skipped"] for e in found["cases"]} == {"too large for the memory that is free"}


def test_a_users_own_network(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef small():\n    return nn.Linear(6, 2)\nthree = 3\n")
    module = load_module(f"{file}:small")
    bench = small(tmp_path / "p.json")
    bench.measure_module("small", module, [6], 4)
    [entry] = read(tmp_path / "p.json")["modules"]
    assert (entry["module"], entry["batch"]) == ("small", 4)
    assert entry["train"][0]["s"] > entry["inference"][0]["s"] > 0
    with pytest.raises(ValueError, match=r"no such Python file; give FILE\.py:NAME"):
        load_module("nowhere.py:small")
    with pytest.raises(ValueError, match=r"three is not a torch\.nn.Module, nor makes one"):
        load_module(f"{file}:three")


@pytest.mark.slow
def test_the_exported_script_needs_nothing_of_simfl(tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text(script())
    (tmp_path / "net.py").write_text("from torch import nn\nnet = nn.Linear(6, 2)\n")
    # the cases of a board, less most of them
    (tmp_path / "few.py").write_text(
        "import sys, board\n"
        "every = board.cases()\n"
        "board.cases = lambda: [c for c in every if board.needs(c) < 2**18][:6]\n"
        "code = board.main()\n"
        "assert not [name for name in sys.modules if name.startswith('simfl')]\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "few.py", "--out", "p.json", "--budget", "1"]
    command += ["--module", "net.py:net", "--input", "6", "--batches", "2,3"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "p.json")
    assert len(found["cases"]) == 6
    assert [entry["batch"] for entry in found["modules"]] == [2, 3]
    assert "6 cases in p.json" in done.stderr
    (tmp_path / "p.json").write_text("{")
    again = subprocess.run(
        command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert "is not JSON" in again.stderr
