"""`imgmirror completion`: the scripts complete in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import COMMANDS
from proxy.cli.completion import SHELLS

_BASH = """
source completion.bash
COMP_WORDS=({words}) COMP_CWORD={last}
_shtab_imgmirror
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script(shell: str) -> str:
    """Return what the command prints."""
    command = [sys.executable, "-m", "proxy", "completion", shell]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def completed_by_bash(folder: Path, *words: str) -> set[str]:
    (folder / "completion.bash").write_text(script("bash"), encoding="utf-8")
    text = _BASH.format(words=" ".join(word or '""' for word in words), last=len(words) - 1)
    done = subprocess.run(
        ["bash", "-c", text],  # noqa: S607 - wherever the system has it
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.strip() for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("imgmirror", ""), {*COMMANDS}),
        (("imgmirror", "re"), {"rewrite"}),
        (("imgmirror", "store", "ver"), {"verify"}),
        (("imgmirror", "rewrite", "--dif"), {"--diff"}),
        (("imgmirror", "completion", "f"), {"fish"}),
        (("imgmirror", "rewrite", "art"), {"articles"}),
    ],
)
def test_bash_completes_commands_actions_options_values_and_files(
    tmp_path: Path, words: tuple[str, ...], expected: set[str]
) -> None:
    """The functions of the script are called as bash calls them."""
    (tmp_path / "articles").mkdir()
    found = completed_by_bash(tmp_path, *words)
    assert {word for word in found if not word.startswith("-") or word in expected} >= expected
    if words[-1]:
        assert found == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_and_options(tmp_path: Path) -> None:
    """fish itself says what it would offer."""
    (tmp_path / "completion.fish").write_text(script("fish"), encoding="utf-8")
    for typed, expected in (("imgmirror re", "rewrite"), ("imgmirror rewrite --dif", "--diff")):
        text = f"source {tmp_path / 'completion.fish'}; complete --do-complete '{typed}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", text],  # noqa: S607 - wherever the system has it
            check=True,
            capture_output=True,
            text=True,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [expected]


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_script_is_one_that_its_shell_can_read(tmp_path: Path, shell: str, check: str) -> None:
    """Each shell checks the syntax of its own."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell), encoding="utf-8")
    subprocess.run([shell, check, path], check=True, capture_output=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_printed_beside_a_broken_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """A shell that starts must not complain about a file of ours."""
    (tmp_path / "config.toml").write_text("[", encoding="utf-8")
    monkeypatch.setenv("IMGMIRROR_CONFIG", str(tmp_path / "config.toml"))
    assert "imgmirror" in script(shell)
