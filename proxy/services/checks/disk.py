"""Checks folders and disks: whether the store is usable, by which user, and the free space. Creates nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from cache.base.errors import CacheError
from cache.durable_tier import MIN_FREE_FILES, Originals, free_files
from proxy.config import Config
from proxy.services.checks.finding import DoctorFinding
from proxy.services.checks.sizes import readable

MARKER = "imgmirror-store"
_NETWORK_FILESYSTEMS = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "fuse.sshfs",
    "fuse.s3fs",
    "ceph",
    "glusterfs",
}


def store_findings(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about the folder of originals."""
    folder = config.store.dir
    if (folder / MARKER).is_file():
        yield from _existing(config, folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        advice = "name another store.dir: this folder contains other files and cannot be used"
        yield DoctorFinding("care", "store", f"{folder} is not a store", advice)
    else:
        yield _creatable("store", folder)


def variants_findings(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about the folder of variants."""
    folder = config.store.variants_path
    existing = _nearest(folder)
    kind = _filesystem(existing)
    if kind in _NETWORK_FILESYSTEMS:
        advice = "put store.variants_dir on a local disk: its database does not work over a network"
        yield DoctorFinding("care", "variants", f"{folder} lies on {kind}", advice)
    elif not os.access(existing, os.W_OK | os.X_OK):
        advice = f"give the service's user the right to write {existing}; until then nothing rendered is kept"
        yield DoctorFinding("care", "variants", f"{existing} cannot be written", advice)
    else:
        yield DoctorFinding(
            "ok", "variants", f"{folder}, at most {readable(config.store.variants_max_bytes)}"
        )


def disk_findings(config: Config) -> Iterator[DoctorFinding]:
    """Yield findings about free disk space."""
    store = config.store
    free = shutil.disk_usage(_nearest(store.dir)).free
    shown = f"{readable(free)} free, store.min_free is {readable(store.min_free)}"
    if free < store.min_free:
        advice = "free some space: below store.min_free new pictures are served but not kept"
        yield DoctorFinding("care", "disk", shown, advice)
    elif free < 2 * store.min_free:
        yield DoctorFinding(
            "note", "disk", shown, "plan for more space; kept originals are never deleted to free some"
        )
    else:
        yield DoctorFinding("ok", "disk", shown)
    files = free_files(_nearest(store.dir))
    if files is not None and files < MIN_FREE_FILES:
        advice = "delete files, or move the store: until then new pictures are served but not kept"
        yield DoctorFinding("care", "disk", f"out of inodes: the disk takes {files} more files", advice)
    free = shutil.disk_usage(_nearest(store.variants_path)).free
    if free < store.variants_max_bytes // 10:
        advice = "free some space or lower store.variants_max_bytes; otherwise variants are rendered again and again"
        yield DoctorFinding("note", "disk", f"{readable(free)} free for variants", advice)


def _existing(config: Config, folder: Path) -> Iterator[DoctorFinding]:
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        advice = "run doctor as the service's user, to check whether that user can write"
        yield DoctorFinding("note", "store", f"{folder} belongs to user {owner}", advice)
        return
    try:
        yield from asyncio.run(_opened(config, folder))
    except (CacheError, OSError) as error:
        yield DoctorFinding("care", "store", f"{folder}: {error}", "the service cannot start with this store")


async def _opened(config: Config, folder: Path) -> list[DoctorFinding]:
    limits = config.store
    originals = await Originals.open(
        folder, min_free_bytes=limits.min_free, max_bytes=limits.originals_max_bytes, look=True
    )
    try:
        kept = originals.kept()
        readable_now = await asyncio.to_thread(originals.readable)
        writable_now = await asyncio.to_thread(originals.writable)
        budget_left = limits.originals_max_bytes is None or kept.bytes < limits.originals_max_bytes
        without_right = {
            "read": await asyncio.to_thread(originals.unreadable),
            "written": await asyncio.to_thread(originals.unwritable),
        }
    finally:
        await originals.close()
    for problem, names in without_right.items():
        if names:
            advice = f"correct the permissions of these folders in {folder} for user {os.geteuid()}"
            return [DoctorFinding("care", "store", f"{', '.join(names)} cannot be {problem}", advice)]
    if not readable_now or not writable_now:
        problem = "written" if readable_now else "read"
        advice = f"correct the permissions of {folder} for user {os.geteuid()}"
        return [DoctorFinding("care", "store", f"{folder} cannot be {problem}", advice)]
    findings = [DoctorFinding("ok", "store", f"{folder}: {kept.entries} originals, {readable(kept.bytes)}")]
    if not budget_left:
        advice = "raise store.originals_max_bytes: new pictures are served but not kept"
        findings.append(DoctorFinding("care", "store", "store.originals_max_bytes is reached", advice))
    return findings


def _creatable(subject: str, folder: Path) -> DoctorFinding:
    existing = _nearest(folder)
    if os.access(existing, os.W_OK | os.X_OK):
        return DoctorFinding("ok", subject, f"{folder} will be created at the first start")
    advice = f"create it for the service's user, or give that user the right to write {existing}"
    return DoctorFinding("care", subject, f"{folder} cannot be made: {existing} cannot be written", advice)


def _nearest(folder: Path) -> Path:
    """Return the folder or, if it does not exist, its nearest existing parent."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())


def _filesystem(folder: Path) -> str:
    """Return the filesystem type of a folder, or an empty text when it is unknown."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    real, best = str(folder.resolve()), ("", "")
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
