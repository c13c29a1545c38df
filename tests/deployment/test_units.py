"""The README's commands on an empty machine, and the units of deploy/systemd under a real systemd."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine, machine, why_not

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "can run here"),
]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MIRROR = "img.example.org"


def commands_of_the_readme() -> list[str]:
    """Return the indented commands between the marks of the README, without their comments."""
    part = README.split("<!-- for real -->", 1)[1].split("<!-- /for real -->", 1)[0]
    lines = re.findall(r"^    (.+)$", part, re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def installed() -> Iterator[Machine]:
    """A machine with nginx, after the commands of the README. Only the first one needs the network."""
    with machine() as made:
        made.run("rm -f /etc/nginx/sites-enabled/* && systemctl start nginx.service")
        for number, command in enumerate(commands_of_the_readme()):
            made.run(command, online=number == 0)
        yield made


def fetch(path: str, *options: str) -> str:
    """Return the shell command that asks nginx and prints status and headers."""
    return f"curl -sS -o /tmp/body -D - -H 'Host: {MIRROR}' {' '.join(options)} 'http://127.0.0.1{path}'"


def test_readme_needs_five_commands_at_most() -> None:
    """What stands between the marks is what a stranger types."""
    assert 1 <= len(commands_of_the_readme()) <= 5


def test_commands_of_the_readme_give_a_mirror_that_is_ready(installed: Machine) -> None:
    """nginx answers with imgmirror's word; the service is enabled for the next boot and serves nothing unsigned."""
    assert "200 OK" in installed.run(fetch("/healthz")).stdout
    enabled = installed.run("systemctl is-enabled imgmirror.service imgmirror.socket").stdout.split()
    assert enabled == ["enabled", "enabled"]
    assert "403" in installed.run(fetch("/?http://192.0.2.1/a.png")).stdout.splitlines()[0]
    assert "401" in installed.run(fetch("/metrics")).stdout.splitlines()[0]


def test_installing_again_keeps_the_configuration(installed: Machine) -> None:
    """An upgrade makes no new key: signed addresses in articles go on working."""
    before = installed.run("cat /etc/imgmirror/config.toml").stdout
    assert "@" not in before
    installed.run(commands_of_the_readme()[0], online=True)
    assert installed.run("cat /etc/imgmirror/config.toml").stdout == before


def test_secrets_and_originals_are_closed_to_others(installed: Machine) -> None:
    """The configuration has a key in it."""
    shown = installed.run("stat -c '%a %U:%G' /etc/imgmirror/config.toml /var/lib/imgmirror/store").stdout
    assert shown.split("\n")[:2] == ["640 root:imgmirror", "700 imgmirror:imgmirror"]
    assert installed.run("setpriv --reuid nobody cat /etc/imgmirror/config.toml", check=False).returncode


def test_systemd_finds_no_fault_in_the_units(installed: Machine) -> None:
    """`verify` prints nothing, and the exposure of the service is 1.5 or better."""
    told = installed.run("systemd-analyze verify imgmirror.service imgmirror.socket")
    assert (told.stdout, told.stderr) == ("", "")
    unit = "/etc/systemd/system/imgmirror.service"
    rated = installed.run(f"systemd-analyze security --offline=yes --threshold=15 --no-pager {unit}")
    assert float(re.findall(r"exposure level for \S+: ([\d.]+)", rated.stdout)[0]) <= 1.5


_FORBIDDEN = """
    import ctypes, os, socket
    from pathlib import Path
    from proxy.images.pool import cage

    walls = cage.shut([])
    print("walls", *walls)

    def refused(name, attempt):
        try:
            attempt()
        except OSError as error:
            print("refused", name, error.errno)
        else:
            print("ALLOWED", name)

    refused("socket", lambda: socket.socket())
    refused("file", lambda: open("/etc/passwd"))
    refused("store", lambda: os.listdir("/var/lib/imgmirror"))
    refused("write", lambda: open("/var/lib/imgmirror/x", "w"))
    refused("process", lambda: os.fork())
    refused("program", lambda: os.execv("/bin/true", ["true"]))
    refused("signal", lambda: os.kill(os.getppid(), 0))
"""


def test_cage_of_render_processes_is_whole_under_the_unit(installed: Machine) -> None:
    """Both walls stand under the restrictions of the unit, and each of them refuses what it should."""
    installed.write("/opt/imgmirror/forbidden.py", textwrap.dedent(_FORBIDDEN))
    unit = (ROOT / "deploy" / "systemd" / "imgmirror.service").read_text(encoding="utf-8")
    kept = [
        line for line in unit.splitlines() if not line.startswith(("Exec", "Type=", "Restart", "Watchdog"))
    ]
    text = (
        "\n".join(kept)
        .replace("Requires=imgmirror.socket", "")
        .replace(
            "[Service]",
            "[Service]\nType=oneshot\nExecStart=/opt/imgmirror/bin/python /opt/imgmirror/forbidden.py\n"
            "StandardOutput=file:/run/forbidden\nStandardError=file:/run/forbidden-errors",
        )
    )
    installed.write("/etc/systemd/system/forbidden.service", text)
    installed.run(
        "systemctl daemon-reload && (systemctl start forbidden.service || cat /run/forbidden-errors)"
    )
    told = installed.run("cat /run/forbidden").stdout.splitlines()
    assert told[0] == "walls landlock seccomp"
    assert len(told) == 8
    assert all(line.startswith("refused ") for line in told[1:])


def test_render_processes_have_more_filters_and_no_more_rights_than_the_service(installed: Machine) -> None:
    """They are children of the service, so systemd's restrictions hold for them; their own come on top."""
    main = installed.run("systemctl show -P MainPID imgmirror.service").stdout.strip()
    renderer = installed.run(f"pgrep -P {main} -f pool.renderer").stdout.split()[0]
    own, childs = (status(installed, number) for number in (main, renderer))
    assert childs["NoNewPrivs"] == own["NoNewPrivs"] == "1"
    assert {own[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert {childs[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert int(childs["Seccomp_filters"]) > int(own["Seccomp_filters"]) > 0


def status(made: Machine, number: str) -> dict[str, str]:
    lines = made.run(f"cat /proc/{number}/status").stdout.splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


_ORIGIN = "/opt/origin"
_DRAWN = f"from PIL import Image; Image.linear_gradient('L').save('{_ORIGIN}/p.png')"
_PICTURE = f'/opt/imgmirror/bin/python -c "{_DRAWN}"'


@pytest.fixture(scope="module")
def serving(installed: Machine) -> str:
    """An origin on the machine's loopback, which the service may ask; the signed path of one of its pictures."""
    installed.run(f"mkdir -p {_ORIGIN} && {_PICTURE}")
    installed.write(
        "/etc/systemd/system/origin.service",
        f"[Service]\nExecStart=/usr/bin/python3 -m http.server 9000 --bind 127.0.0.1 --directory {_ORIGIN}\n",
    )
    installed.run("printf '\\n[fetch]\\nallow_networks = [\"127.0.0.0/8\"]\\n' >>/etc/imgmirror/config.toml")
    installed.run(
        "systemctl daemon-reload && systemctl start origin.service && systemctl restart imgmirror.service"
    )
    url = installed.run(
        "imgmirror url --config /etc/imgmirror/config.toml build width=100 http://127.0.0.1:9000/p.png"
    ).stdout.strip()
    return url.removeprefix(f"https://{MIRROR}")


def test_picture_is_rendered_and_kept_under_the_unit(installed: Machine, serving: str) -> None:
    """In the format that the client names, by the caged processes of the restricted service."""
    told = installed.run(fetch(serving, "-H Accept:image/webp"))
    assert "200 OK" in told.stdout
    assert "image/webp" in told.stdout
    assert installed.run("find /var/lib/imgmirror/store/bodies -type f | wc -l").stdout.strip() == "1"


def test_restart_refuses_no_visitor(installed: Machine) -> None:
    """The socket is systemd's: a request during the restart waits for the next service."""
    before = installed.run("systemctl show -P MainPID imgmirror.service").stdout
    installed.run("systemctl restart --no-block imgmirror.service")
    told = installed.run("curl -sS --max-time 60 http://127.0.0.1:8080/healthz").stdout
    assert '"ok"' in told
    installed.run("systemctl restart imgmirror.service")
    assert installed.run("systemctl show -P MainPID imgmirror.service").stdout != before


def test_killed_service_is_started_again(installed: Machine) -> None:
    """`Restart=always`, and the visitor meanwhile waits at the socket."""
    installed.run("systemctl kill --signal=KILL imgmirror.service")
    assert '"ok"' in installed.run("curl -sS --max-time 60 http://127.0.0.1:8080/healthz").stdout


def test_reload_keeps_the_process(installed: Machine) -> None:
    """`systemctl reload` is SIGHUP."""
    installed.run("systemctl restart imgmirror.service")
    before = installed.run("systemctl show -P MainPID imgmirror.service").stdout
    installed.run("systemctl reload imgmirror.service")
    assert '"ok"' in installed.run("curl -sS --max-time 60 http://127.0.0.1:8080/healthz").stdout
    assert installed.run("systemctl show -P MainPID imgmirror.service").stdout == before
