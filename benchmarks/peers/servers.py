"""The known servers: imgmirror, thumbor, ipx (sharp), nginx image_filter, imgproxy, imagor, oximg.

Each keeps its own defaults except where the workload needs otherwise: all cores where that is no default, the
requested qualities, no cache, and permission to fetch from loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from peers import ROOT, Ask, Launch, Missing, Peer

NGINX_MODULE = "ngx_http_image_filter_module.so"
_NGINX = """
load_module {module};
{user}
daemon off;
worker_processes {cpus};
pid {scratch}/nginx.pid;
error_log stderr error;
events {{}}
http {{
  access_log off;
  client_body_temp_path {scratch}/body;
  proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi;
  uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location ~ ^/(?<side_x>\\d+)x(?<side_y>\\d+)/q(?<level>\\d+)(?<path>/.*)$ {{
      proxy_pass http://127.0.0.1:{origin_port}$path$is_args$args;
      proxy_max_temp_file_size 0;
      image_filter resize $side_x $side_y;
      image_filter_jpeg_quality $level;
      image_filter_webp_quality $level;
      image_filter_buffer 32M;
    }}
  }}
}}
"""


def _said(command: list[str], pattern: str) -> str:
    """Return the match of `pattern` in the output of `command`.

    Raises:
        Missing: the command cannot be run.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"cannot be run: {error}") from error
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "unknown version"


def ourselves(
    root: Path = ROOT, *, name: str = "imgmirror", program: tuple[str, ...] = ("-m", "proxy")
) -> Peer:
    """Return `imgmirror serve` of the work tree `root`, by its own interpreter, with a render process for each core.

    program: a program that the interpreter runs instead; `{scratch}` in it stands for the scratch folder.
    """
    own = root / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable

    def address(ask: Ask) -> str:
        quality = f",quality={ask.quality}" if ask.quality else ""
        return (
            f"/image/width={ask.width},height={ask.height},format={ask.output_format}{quality}/{ask.source}"
        )

    def command(launch: Launch) -> list[str]:
        run = [part.replace("{scratch}", str(launch.scratch)) for part in program]
        return [python, *run, "serve", "--port", str(launch.port)]

    def environment(launch: Launch) -> dict[str, str]:
        return {
            "IMGMIRROR_STORE_DIR": str(launch.scratch / "store"),
            "IMGMIRROR_STORE_MIN_FREE": "0",
            "IMGMIRROR_FETCH_ALLOW_NETWORKS": '["127.0.0.0/8"]',
            "IMGMIRROR_RENDER_PROCESSES": str(launch.cpus),
            "IMGMIRROR_LOG": "error",
        }

    text = (root / "proxy" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'"([0-9][^"]*)"', text)
    version = f"{found[1] if found else '?'}, {_said([python, '-m', 'PIL', '--version'], r'(Pillow .*)')}"
    return Peer(name, version, address, command, environment=environment, folder=root)


def thumbor(folder: Path) -> Peer:
    """Return the thumbor installed in `folder`: a process and a thread pool for all cores, nothing stored."""
    executable = folder / "thumbor" / "bin" / "thumbor"
    if not executable.exists():
        raise Missing("not installed (try --install)")

    def address(ask: Ask) -> str:
        filters = f"format({ask.output_format})" + (f":quality({ask.quality})" if ask.quality else "")
        return f"/unsafe/fit-in/{ask.width}x{ask.height}/filters:{filters}/{quote(ask.source, safe='')}"

    def command(launch: Launch) -> list[str]:
        config = launch.scratch / "thumbor.conf"
        config.write_text(
            f"ENGINE_THREADPOOL_SIZE = {launch.cpus}\n"
            "STORAGE = 'thumbor.storages.no_storage'\n"
            "RESULT_STORAGE = None\n"
            "DETECTORS = []\n",
            encoding="utf-8",
        )
        return [
            *[str(executable), "--ip", "127.0.0.1", "--port", str(launch.port)],
            *["--conf", str(config), "--processes", str(launch.cpus), "--log-level", "error"],
        ]

    pip = [str(executable.with_name("python")), "-m", "PIL", "--version"]
    version = (
        f"{_said([str(executable), '--version'], r'v([0-9.]+)')}, {_said(pip, r'(Pillow [0-9]+[.0-9]*)')}"
    )
    return Peer("thumbor", version, address, command)


def ipx(folder: Path) -> Peer:
    """Return the ipx installed in `folder`. PNG gets no quality, because sharp would reduce it to 256 colours."""
    script = folder / "ipx" / "node_modules" / "ipx" / "bin" / "ipx.mjs"
    node = shutil.which("node")
    if node is None or not script.exists():
        raise Missing("no node on this machine" if node is None else "not installed (try --install)")

    def address(ask: Ask) -> str:
        quality = f",q_{ask.quality}" if ask.quality else ""
        modifiers = f"fit_inside,s_{ask.width}x{ask.height},f_{ask.output_format}{quality}"
        return f"/{modifiers}/{quote(ask.source, safe=':/')}"

    def command(launch: Launch) -> list[str]:
        return [node, str(script), "serve", "--host", "127.0.0.1", "--port", str(launch.port)]

    def environment(launch: Launch) -> dict[str, str]:
        # listhen opens a browser and a tunnel in development only.
        return {
            "IPX_HTTP_ALLOW_ALL_DOMAINS": "true",
            "IPX_FS_DIR": str(launch.scratch),
            "NODE_ENV": "production",
            "HOST": "127.0.0.1",
        }

    versions = []
    for name in ("ipx", "sharp"):
        package = folder / "ipx" / "node_modules" / name / "package.json"
        versions.append(f"{name} {json.loads(package.read_text(encoding='utf-8'))['version']}")
    versions.append(f"node {_said([node, '--version'], r'v([0-9.]+)')}")
    return Peer("ipx", ", ".join(versions), address, command, environment=environment)


def nginx(_folder: Path) -> Peer:
    """Return the distribution's nginx with its image filter, which keeps the source's format and knows no AVIF."""
    executable = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if executable is None:
        raise Missing("not installed (try --install)")
    module = next((place for place in _module_folders() if place.exists()), None)
    if module is None:
        raise Missing(f"nginx is there, its module {NGINX_MODULE} is not")

    def address(ask: Ask) -> str:
        path = ask.source.split("://", 1)[1].split("/", 1)[1]
        return f"/{ask.width}x{ask.height}/q{ask.quality or 80}/{path}"

    def command(launch: Launch) -> list[str]:
        config = launch.scratch / "nginx.conf"
        text = _NGINX.format(
            module=module,
            user="user root;" if os.geteuid() == 0 else "",
            cpus=launch.cpus,
            scratch=launch.scratch,
            port=launch.port,
            origin_port=launch.origin_port,
        )
        config.write_text(text, encoding="utf-8")
        return [executable, "-c", str(config), "-p", str(launch.scratch)]

    version = _said([executable, "-v"], r"nginx/([0-9.]+)")
    formats = frozenset({"jpeg", "png", "webp"})
    return Peer("nginx", version, address, command, formats=formats, converts=False)


def _module_folders() -> list[Path]:
    return [Path(base) / "nginx" / "modules" / NGINX_MODULE for base in ("/usr/lib", "/usr/lib64")]


def imgproxy(executable: Path) -> Peer:
    """Return the imgproxy that the user named."""

    def address(ask: Ask) -> str:
        quality = f"/q:{ask.quality}" if ask.quality else ""
        source = quote(ask.source, safe=":/")
        extension = "jpg" if ask.output_format == "jpeg" else ask.output_format
        return f"/insecure/rs:fit:{ask.width}:{ask.height}{quality}/f:{extension}/plain/{source}"

    def environment(launch: Launch) -> dict[str, str]:
        return {
            "IMGPROXY_BIND": f"127.0.0.1:{launch.port}",
            "IMGPROXY_ALLOW_LOOPBACK_SOURCE_ADDRESSES": "true",
            "IMGPROXY_LOG_LEVEL": "error",
        }

    version = _said([str(executable), "version"], r"([0-9]+\.[0-9.]+)")
    return Peer("imgproxy", version, address, lambda _launch: [str(executable)], environment=environment)


def imagor(executable: Path) -> Peer:
    """Return the imagor that the user named."""

    def address(ask: Ask) -> str:
        filters = f"format({ask.output_format})" + (f":quality({ask.quality})" if ask.quality else "")
        return f"/unsafe/fit-in/{ask.width}x{ask.height}/filters:{filters}/{quote(ask.source, safe='')}"

    def command(launch: Launch) -> list[str]:
        return [str(executable), "-imagor-unsafe", "-bind", f"127.0.0.1:{launch.port}"]

    version = _said([str(executable), "-version"], r"([0-9]+\.[0-9.]+)")
    return Peer("imagor", version, address, command)


def oximg(executable: Path) -> Peer:
    """Return the oximg that the user named. It has one origin, and AVIF only if it was built with it."""

    def address(ask: Ask) -> str:
        path = ask.source.split("://", 1)[1].split("/", 1)[1]
        quality = f",quality={ask.quality}" if ask.quality else ""
        return f"/image/width={ask.width},height={ask.height},format={ask.output_format}{quality}/{path}"

    def environment(launch: Launch) -> dict[str, str]:
        return {
            "PORT": str(launch.port),
            "OXIMG_BIND": "127.0.0.1",
            "OXIMG_SOURCE_BASE_URL": f"http://127.0.0.1:{launch.origin_port}",
            "OXIMG_OPTIONS_PREFIX": "/image",
        }

    version = _said([str(executable), "--version"], r"([0-9]+\.[0-9.]+)")
    return Peer("oximg", version, address, lambda _launch: [str(executable)], environment=environment)
