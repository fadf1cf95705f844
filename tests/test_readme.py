"""What the README shows as code does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shown(first_line: str) -> str:
    """The README's code block that begins so."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [block] = [block for block in blocks if block.startswith(first_line)]
    return str(block)


@pytest.mark.slow
def test_an_algorithm_is_one_file(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    for part in ("simfl", "scenarios", "device_models", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    code = shown('"""One-shot pruning')
    assert len([line for line in code.splitlines() if line]) <= 34
    (tmp_path / "simfl" / "algorithms" / "one_shot.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}

    def said(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "one_shot" in said("simfl", "list", "algorithms")
    assert '"const": "one_shot"' in said("simfl", "schema")
    suite = ("tests/contracts/test_algorithms.py", "-k", "one_shot and not every_bit")
    summary = said("pytest", "-p", "no:cacheprovider", "-o", "addopts=", *suite).splitlines()[-1]
    assert re.search(r"\b(1[5-9]|[2-9]\d) passed", summary), summary
