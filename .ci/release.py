"""`make release`: builds what a release consists of into dist/, looks into it, and signs and publishes nothing.

    dist/imgmirror-V.tar.gz, dist/imgmirror-V-py3-none-any.whl     the wheel is built from the source distribution
    dist/imgmirror.1                                               the manual page, from the command's parser
    dist/completions/imgmirror.{bash,zsh,fish}
    dist/CHANGELOG.md                                              from changes/, the newest first
    dist/SHA256SUMS

Blocking.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
SHELLS = ("bash", "zsh", "fish")


def changelog(folder: Path) -> str:
    """Return all fragments as one page: what is unreleased, if anything, then each version, the newest first."""
    versions = sorted(
        (path for path in folder.glob("*.md") if path.stem != "unreleased"),
        key=lambda path: [int(number) for number in path.stem.split(".")],
        reverse=True,
    )
    pages = [path for path in (folder / "unreleased.md", *versions) if path.exists()]
    return "# Changelog\n\n" + "\n".join(_deeper(path.read_text(encoding="utf-8")) for path in pages)


def _deeper(text: str) -> str:
    """Return a page as a part of another: its headings are one level lower, its links start at the top folder."""
    lowered = re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)
    return lowered.replace("](../", "](").strip() + "\n"


def manual_page() -> str:
    """Return the manual page of the command."""
    words = {
        "module": "proxy.cli",
        "function": "build_parser",
        "prog": "imgmirror",
        "project-name": "imgmirror",
        "manual-title": "imgmirror",
        "description": "image proxy and asset mirror",
        "url": "https://imgmirror.example/",
    }
    program = Path(sys.executable).with_name("argparse-manpage")
    given = [part for name, value in words.items() for part in (f"--{name}", value)]
    return subprocess.run([program, *given], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build both distributions into a folder; return their paths."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONDEVMODE": "", "PYTHONWARNINGS": "default"},
    )
    (wheel,), (source,) = folder.glob("imgmirror-*.whl"), folder.glob("imgmirror-*.tar.gz")
    return wheel, source


def problems(wheel: Path, source: Path) -> list[str]:
    """Return what is wrong with the distributions: a version that differs, a file that is missing."""
    version = wheel.name.split("-")[1]
    with tarfile.open(source) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    with zipfile.ZipFile(wheel) as inside:
        modules = {name for name in inside.namelist() if name.endswith(".py")}
    missing = [
        name
        for name in ("deploy/systemd/imgmirror.service", "CONTRIBUTING.md", "SECURITY.md")
        if name not in names
    ]
    found = [f"{name} is missing in {source.name}" for name in missing]
    found += [f"{name} is in {wheel.name} and not in {source.name}" for name in sorted(modules - names)]
    if source.name != f"imgmirror-{version}.tar.gz":
        found.append(f"{source.name} and {wheel.name} have different versions")
    return found


def main() -> int:
    """Build everything; return 1 when something is wrong with it."""
    shutil.rmtree(DIST, ignore_errors=True)
    (DIST / "completions").mkdir(parents=True)
    wheel, source = build(DIST)
    (DIST / "CHANGELOG.md").write_text(changelog(ROOT / "changes"), encoding="utf-8")
    (DIST / "imgmirror.1").write_text(manual_page(), encoding="utf-8")
    for shell in SHELLS:
        command = [sys.executable, "-m", "proxy", "completion", shell]
        script = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
        (DIST / "completions" / f"imgmirror.{shell}").write_bytes(script)
    files = sorted(path for path in DIST.rglob("*") if path.is_file())
    sums = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(DIST)}\n" for path in files
    )
    (DIST / "SHA256SUMS").write_text(sums, encoding="utf-8")
    print(sums, end="")
    found = problems(wheel, source)
    for problem in found:
        print(f"release: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
