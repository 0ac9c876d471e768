"""A process that says and writes what it is told: ``puppet.py SOCKET [fork|exec PROGRAM ARGUMENT...|first]``.

It imports nothing of this package: whoever attacks brings no more than Python. Each line of standard input is an order
in JSON, each line of standard output its answer.

``fork``: the process that connected sleeps, and its child speaks. ``exec``: the same, and the process that connected
becomes another program. ``first``: it connects as soon as anybody listens.
"""

import base64
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any


def obey(link: socket.socket, order: dict[str, Any]) -> dict[str, Any]:
    """Do one thing."""
    match order["do"]:
        case "say":
            link.sendall(order["line"].encode() + b"\n")
        case "append":
            with Path(order["file"]).open("ab", buffering=0) as file:
                file.write(base64.b64decode(order["data"]))
        case "sql":
            connection = sqlite3.connect(order["database"], isolation_level=None, timeout=10)
            connection.create_function("octet_length", 1, lambda v: v and len(str(v).encode()), deterministic=True)
            for statement, values in order["statements"]:
                connection.execute(statement, values)
            connection.close()
        case "hear":
            link.settimeout(order["seconds"])
            try:
                return {"heard": link.recv(1 << 16).decode()}
            except (TimeoutError, ConnectionError):
                return {"heard": ""}
    return {}


def main() -> None:
    """Connect, and obey until there are no more orders."""
    link = socket.socket(socket.AF_UNIX)
    how = sys.argv[2] if len(sys.argv) > 2 else ""
    while link.connect_ex(sys.argv[1]) and how == "first":
        time.sleep(0.001)
    if how in {"fork", "exec"} and os.fork():
        if how == "exec":
            os.execv(sys.argv[3], sys.argv[3:])
        signal.pause()
    me = {"pid": os.getpid(), "parent": os.getppid(), "exe": str(Path("/proc/self/exe").readlink())}
    sys.stdout.write(json.dumps(me) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            answer = obey(link, json.loads(line))
        except OSError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
