"""A container made with util-linux and a few system calls, where there is no container engine.

`run_container` runs a command of an image as an engine would: the image's root as root, read-only
unless told otherwise, a volume at `/data`, `/proc` and a small `/dev` of its own, as process 1 of
its own process namespace, as the image's user, with no capability and no way to gain one. Only the
network is the machine's, so that a test reaches it on 127.0.0.1. It takes root.

Run as a script, this file is what happens inside: it makes the mounts, changes the root, gives up
its rights and becomes the command.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What engines put into an otherwise empty `/dev`, of what a service may need.
DEVICES = ("null", "zero", "full", "random", "urandom")

#: Directories of the image's root that things are mounted on; an engine makes them, too.
MOUNT_POINTS = ("dev", "proc")

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def container_command(
    root: Path,
    volume: Path,
    command: list[str],
    environment: dict[str, str],
    *,
    user: str,
    directory: str,
    is_read_only: bool = True,
) -> list[str]:
    """Return the command that runs `command` in a container; it exits with its exit code.

    Its one child is process 1 of the container, and dies with the command.
    """
    inside = {
        "root": str(root),
        "volume": str(volume),
        "command": command,
        "environment": environment,
        "user": user,
        "directory": directory,
        "is_read_only": is_read_only,
    }
    unshare = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork"]
    return [*unshare, "--", sys.executable, "-I", __file__, json.dumps(inside)]


def become(inside: dict[str, Any]) -> None:
    """Turn this process, the first one of its namespaces, into the command."""
    root = Path(inside["root"])
    mount_all(root, inside["volume"], inside["is_read_only"])
    os.chroot(root)
    os.chdir(inside["directory"])
    user_id, group_id = map(int, inside["user"].split(":"))
    os.setgroups([])
    os.setresgid(group_id, group_id, group_id)
    os.setresuid(user_id, user_id, user_id)  # gives up every capability
    control = ctypes.CDLL(None).prctl
    # Here, since another user is one of the things that clear the first of them.
    if control(PR_SET_PDEATHSIG, signal.SIGKILL) or control(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("the kernel does not let a process give up its rights")
    os.execve(inside["command"][0], inside["command"], inside["environment"])


def mount_all(root: Path, volume: str, is_read_only: bool) -> None:
    mount("--bind", str(root), str(root))
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-t", "tmpfs", "-o", "mode=755,size=64k", "dev", str(root / "dev"))
    for name in DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", str(root / "dev" / name))
    mount("--bind", volume, str(root / "data"))
    mount("-o", "remount,bind,nosuid,nodev,noexec", str(root / "data"))
    if is_read_only:
        mount("-o", "remount,bind,ro", str(root))


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    become(json.loads(sys.argv[1]))
