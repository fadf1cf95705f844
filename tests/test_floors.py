"""Which part of simfl may import which: the floors of docs/design.md, checked by `ast`."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "simfl"

# unit: (floor, what it sees of simfl beside floor 0, third parties); on floor 0: all that it sees
TABLE: dict[str, tuple[int, str, str]] = {
    "errors": (0, "", ""),
    "units": (0, "", ""),
    "keys": (0, "", ""),
    "work": (0, "", ""),
    "resources": (0, "", ""),
    "registry": (0, "errors", ""),
    "options": (0, "units", "pydantic pydantic_core"),
    "strict": (0, "errors", "pydantic yaml"),
    "graph_file": (0, "errors strict", "networkx"),
    "tensors": (0, "work", "torch"),
    "precision": (0, "", "torch"),
    "vision": (0, "", "torch torchvision"),
    "scenario": (1, "", "pydantic pydantic_core yaml"),
    "memo": (1, "", "filelock fsspec"),
    "codecs": (1, "", "numpy scipy torch"),
    "models": (1, "", "torch torchvision"),
    "datasets": (1, "", "numpy pydantic torch torchvision sklearn"),
    "partitions": (1, "", "pydantic torch"),
    "pruning": (1, "", "torch torchvision"),
    "cost": (1, "", "numba numpy pydantic pydantic_core"),
    "topologies": (1, "", "networkx pydantic pydantic_core"),
    "record": (1, "", "h5py numpy pandas yaml"),
    "networks": (2, "cost", "networkx numpy pydantic pydantic_core scipy"),
    "objectives": (1, "", "pydantic torch"),
    "availability": (1, "", ""),
    "selection": (1, "", "pydantic"),
    "learning": (2, "models datasets memo objectives partitions pruning", "numba numpy torch"),
    "events": (2, "cost memo selection", "simpy"),
    "algorithms": (3, "learning models objectives pruning", "pydantic torch"),
    "protocols": (4, "events topologies algorithms.base memo", "networkx pydantic simpy"),
    "devices": (5, "cost", ""),
    "profile": (
        5,
        "cost devices models",
        "numpy rich scipy torch yaml",
    ),
    "datafolder": (5, "datasets partitions scenario", ""),
    "assembly": (
        5,
        "availability cost datafolder datasets devices learning networks partitions running "
        "scenario topologies",
        "networkx torch",
    ),
    "running": (
        5,
        "algorithms availability cost datafolder events learning memo networks scenario",
        "networkx simpy",
    ),
    "planning": (5, "events memo", ""),
    "rounds": (5, "", ""),
    "recording": (5, "cost events memo record.schema rounds running", "simpy"),
    "hosting": (5, "assembly learning memo running", "torch"),
    "simulation": (
        5,
        "assembly datafolder hosting memo planning record recording running scenario",
        "filelock simpy",
    ),
    "recorded": (
        5,
        "assembly datafolder datasets memo partitions planning record running scenario",
        "",
    ),
    "totals": (5, "cost record running scenario", "pandas"),
    "retiming": (
        5,
        "assembly datasets hosting memo record recorded recording running scenario simulation "
        "totals",
        "pandas simpy",
    ),
    "repeating": (5, "hosting record retiming simulation", ""),
    "tasks": (5, "hosting record repeating retiming scenario simulation", ""),
    "grid": (5, "hosting retiming scenario tasks", "pandas"),
    "search_space": (5, "scenario", ""),
    "optimization": (
        5,
        "hosting record retiming scenario search_space simulation tasks",
        "optuna pandas",
    ),
    "cluster": (5, "assembly grid hosting memo record simulation tasks", "ray"),
    "verification": (5, "cost events", "numpy pandas pydantic pydantic_core simpy"),
    "fitting": (5, "cost datafolder devices models running scenario", ""),
    "export": (5, "record", "pandas torch"),
    "spreads": (5, "record", "pandas rich"),
    "holdings": (5, "partitions", "rich"),
    "terminal": (
        5,
        "cost fitting holdings memo planning record recording running simulation spreads",
        "pandas rich yaml",
    ),
    "points": (5, "", "pandas rich"),
    "device_listing": (5, "cost devices fitting", "rich"),
    "listing": (5, "cost device_listing", "rich"),
    "inference": (5, "cost devices models record scenario", "torch"),
    "inference_listing": (5, "cost inference", "rich"),
    "reporting": (
        5,
        "devices inference inference_listing record scenario",
        "matplotlib numpy pandas plotly yaml",
    ),
    "api": (
        5,
        "cluster cost devices grid hosting memo optimization planning record repeating reporting "
        "retiming running scenario search_space simulation terminal",
        "pandas",
    ),
    "answers": (5, "cost devices", ""),
    "drafting": (5, "answers scenario", "yaml"),
    "health": (5, "cost datafolder datasets devices hosting memo", "torch"),
    "commands": (
        6,
        "answers api assembly device_listing devices drafting export fitting health inference "
        "inference_listing listing memo points profile record reporting scenario simulation "
        "spreads terminal verification",
        "pandas rich typer",
    ),
    "cli": (6, "commands", ""),
    "__init__": (6, "api inference models record scenario", ""),
    "__main__": (6, "cli", ""),
}
FLOOR_0 = {unit for unit, (floor, _, _) in TABLE.items() if floor == 0}
# tensors stay away from what is counted, timed, scheduled or written
CLOSED_TO = {
    "precision": set(TABLE) - {"precision", "codecs", "learning"},
    "tensors": {"cost", "events", "memo", "protocols", "record", "scenario", "topologies"},
    "vision": set(TABLE) - {"vision", "datasets", "models"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def unit_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a module imports, also within functions and for types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            module = str(node.module)
            found |= {f"simfl.{a.name}" for a in node.names} if module == "simfl" else {module}
    return found


def third_parties(path: Path) -> set[str]:
    return {n.partition(".")[0] for n in imports(path)} - sys.stdlib_module_names - {"simfl"}


def test_the_table_holds_every_part() -> None:
    assert {unit_of(path) for path in MODULES} == set(TABLE)


@pytest.mark.parametrize("unit", TABLE)
def test_the_table_only_looks_down(unit: str) -> None:
    floor, sees, _ = TABLE[unit]
    for name in sees.split():
        below = TABLE[name.partition(".")[0]][0]
        # the ground floor and the upper two order themselves, as listed
        assert below < floor or (below == floor and floor in (0, 5, 6)), f"{unit} sees {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_what_its_row_allows(path: Path) -> None:
    unit = unit_of(path)
    floor, sees, third = TABLE[unit]
    allowed = set(sees.split()) | (FLOOR_0 if floor else set())
    for name in imports(path):
        if not name.startswith("simfl."):
            continue
        inside = name.removeprefix("simfl.")
        whole = inside.partition(".")[0]
        seen = whole == unit or whole in allowed or inside in allowed
        assert seen, f"{path}: {unit} (floor {floor}) may not import {name}"
        assert unit not in CLOSED_TO.get(whole, set()), f"{path}: {whole} is closed to {unit}"
    assert third_parties(path) <= set(third.split())


@pytest.mark.parametrize(
    "unit", ["cost", "events", "record", "topologies", "protocols", "scenario"]
)
def test_no_torch_in(unit: str) -> None:
    paths = [path for path in MODULES if unit_of(path) == unit]
    assert paths
    assert not any({"torch", "torchvision"} & third_parties(path) for path in paths)


@pytest.mark.parametrize(
    "unit",
    [
        "learning",
        "algorithms",
        "models",
        "datasets",
        "partitions",
        "pruning",
        "memo",
        "cost",
        "codecs",
    ],
)
def test_no_clock_in(unit: str) -> None:
    paths = [path for path in MODULES if unit_of(path) == unit]
    assert paths
    assert not any("simpy" in third_parties(path) for path in paths)


def test_only_the_registry_and_the_root_import_by_name() -> None:
    by_name = [p for p in MODULES if re.search(r"import_module|__import__", p.read_text())]
    assert {unit_of(path) for path in by_name} == {"registry", "__init__"}


HOST_CLOCK = re.compile(
    r"\btime\.(time|sleep|process_time)|perf_counter|monotonic|datetime\.(now|utcnow|today)"
)


def test_the_host_clock_is_read_where_the_host_is_measured_and_by_the_command_line() -> None:
    readers = [p for p in MODULES if HOST_CLOCK.search(p.read_text(encoding="utf-8"))]
    assert {str(path.relative_to(ROOT)) for path in readers} <= {
        *("commands/runs.py", "memo/auto.py", "profile/bench.py", "profile/timing.py")
    }


GLOBAL_STREAM = re.compile(
    r"torch\.(manual_seed|seed|random)\b|\b(np|numpy)\.random\b|(?<!\w)random\.(?!Generator)\w+\("
)
DRAWS = {
    *("bernoulli", "bernoulli_", "exponential_", "kaiming_uniform_", "log_normal_", "multinomial"),
    *("_standard_gamma", "normal", "normal_", "poisson", "rand", "rand_like", "randint"),
    *("randint_like", "randn"),
    *("randn_like", "random_", "randperm", "uniform_", "xavier_uniform_"),
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_randomness_comes_from_a_generator(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not GLOBAL_STREAM.search(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            assert "random" not in {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "random":
            assert {alias.name for alias in node.names} == {"Random"}
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in DRAWS:
                assert "generator" in {k.arg for k in node.keywords}, f"{path}:{node.lineno}"
            if called == "Random":
                assert node.args, f"{path}:{node.lineno}: a stream without a seed"
