"""What checks a site before it is published: hooks in the real pre-commit, and the steps of the GitHub Action."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from generators import INTEGRATIONS, PUBLIC, ROOT, WORKER, article, run, write_tree

pytestmark = pytest.mark.integrations

BASH = shutil.which("bash") or "/bin/bash"
BIN = Path(sys.executable).parent
ON_PATH = {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin"}
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@blog.example", "-c", "commit.gpgsign=false")
HUGO = 'baseURL = "https://blog.example/"\n'
SITE = {"_posts/one.md": article(), "_posts/two.md": "![a](/a.png)\n", "config.toml": HUGO}


def git(folder: Path, *words: str) -> None:
    run("git", *IDENTITY, *words, cwd=folder)


def repository(folder: Path, files: dict[str, str]) -> Path:
    """Return a git repository with these files in its index."""
    write_tree(folder, files)
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    return folder


def hooks(folder: Path) -> str:
    """Return the revision of a repository with our hooks, which run the program that is installed already.

    pre-commit would install it from the package index into an environment of its own, as for any Python hook.
    """
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    repository(folder, {".pre-commit-hooks.yaml": text.replace("language: python", "language: system")})
    git(folder, "commit", "-qm", "hooks")
    return run("git", "rev-parse", "HEAD", cwd=folder).strip()


def site_with(tmp_path: Path, hook: dict[str, Any], files: dict[str, str] = SITE) -> Path:
    revision = hooks(tmp_path / "hooks")
    config = {"repos": [{"repo": str(tmp_path / "hooks"), "rev": revision, "hooks": [hook]}]}
    return repository(tmp_path / "site", {**files, ".pre-commit-config.yaml": yaml.safe_dump(config)})


def pre_commit(site: Path, *words: str, code: int = 0) -> str:
    environment = {**ON_PATH, "PRE_COMMIT_HOME": str(site.parent / "cache")}
    return run(BIN / "pre-commit", *words, cwd=site, environment=environment, code=code)


def test_hooks_are_a_valid_manifest(tmp_path: Path) -> None:
    run(BIN / "pre-commit", "validate-manifest", ROOT / ".pre-commit-hooks.yaml", cwd=tmp_path)


def test_check_fails_on_a_changed_file_with_a_wrapper_and_passes_without(tmp_path: Path) -> None:
    """The site is Hugo's: its `config.toml` is not ours."""
    site = site_with(tmp_path, {"id": "imgmirror-check"})
    said = pre_commit(site, "run", code=1)
    assert "_posts/one.md: 7 to replace" in said
    git(site, "rm", "-q", "--cached", "_posts/one.md")
    assert "Passed" in pre_commit(site, "run")


def test_rewrite_changes_the_files_and_fails_the_commit_once(tmp_path: Path) -> None:
    hook = {"id": "imgmirror-rewrite", "args": ["--base-url", PUBLIC, "_posts"]}
    site = site_with(tmp_path, hook)
    assert "files were modified by this hook" in pre_commit(site, "run", code=1)
    assert WORKER not in (site / "_posts" / "one.md").read_text(encoding="utf-8")
    git(site, "add", "-A")
    assert "Passed" in pre_commit(site, "run")


ACTION = yaml.safe_load((INTEGRATIONS / "github-action" / "action.yml").read_text(encoding="utf-8"))


def test_action_names_what_it_takes_and_gives() -> None:
    """Each expression names an input or a step that there is, and no expression stands in a script."""
    assert ACTION["runs"]["using"] == "composite"
    text = (INTEGRATIONS / "github-action" / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == ACTION["inputs"].keys()
    assert set(re.findall(r"steps\.([\w-]+)", text)) == {
        step["id"] for step in ACTION["runs"]["steps"] if "id" in step
    }
    for step in ACTION["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input would run as a script"


def act(folder: Path, name: str, **inputs: str) -> tuple[int, str, str]:
    """Run a step as GitHub's runner does; return its exit code, what it said, and its outputs."""
    (step,) = [step for step in ACTION["runs"]["steps"] if step["name"] == name]
    given = {key: str(item.get("default", "")) for key, item in ACTION["inputs"].items()} | inputs
    environment = {
        key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)
        for key, text in step["env"].items()
    }
    outputs = folder.parent / "outputs"
    outputs.write_text("", encoding="utf-8")
    environment |= {
        **ON_PATH,
        "GITHUB_OUTPUT": str(outputs),
        "GITHUB_ACTION_PATH": str(INTEGRATIONS / "github-action"),
    }
    done = subprocess.run(
        [BASH, "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return done.returncode, done.stdout, outputs.read_text(encoding="utf-8")


def test_action_marks_each_address_with_file_and_line(tmp_path: Path) -> None:
    """What ends a command of the runner, or a property of it, is escaped."""
    odd = {"_posts/a,b: 100%.md": f"text\n\n![]({WORKER}http://h.example/100%25.png)\n"}
    site = write_tree(tmp_path / "site", SITE | odd)
    code, said, outputs = act(site, "Check", paths="_posts\n\nconfig.toml\n")
    assert code == 1
    marks = [line for line in said.splitlines() if line.startswith("::error ")]
    assert len(marks) == 8
    assert "::error file=_posts/one.md,line=7,title=imgmirror::shown through a wrapper: https://cors" in said
    assert (
        f"::error file=_posts/a%2Cb%3A 100%25.md,line=3,title=imgmirror::shown through a wrapper: {WORKER}"
        "http://h.example/100%2525.png" in marks
    )
    assert outputs == "unfinished=8\n"


def test_action_passes_on_a_site_without_wrappers(tmp_path: Path) -> None:
    site = write_tree(tmp_path / "site", {"two.md": SITE["_posts/two.md"], "config.toml": HUGO})
    assert act(site, "Check") == (0, "", "unfinished=0\n")


def test_action_takes_direct_pictures_and_a_configuration_when_asked(tmp_path: Path) -> None:
    files = {"a.md": "![](https://h.example/a.png)\n", "ours.toml": '[rewrite]\nignore = ["b.md"]\n'}
    site = write_tree(tmp_path / "site", files | {"b.md": f"![]({WORKER}http://h.example/b.png)\n"})
    assert act(site, "Check", config="ours.toml")[0] == 0
    code, said, outputs = act(site, "Check", config="ours.toml", **{"all-images": "true"})
    assert (code, outputs) == (1, "unfinished=1\n")
    assert "::error file=a.md,line=1," in said


def test_action_says_what_is_wrong_with_its_use(tmp_path: Path) -> None:
    code, said, outputs = act(write_tree(tmp_path / "site", SITE), "Check", paths="absent")
    assert (code, outputs) == (2, "")
    assert "absent" in said
    assert "::error title=imgmirror::rewrite --check exited with 2" in said
