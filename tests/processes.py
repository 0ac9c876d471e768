"""A process for a test: it prints a line when it has come so far, and ends with its input."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def waiting(*command: str, executable: str | None = None, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """The pid of the process, once it has printed its line; it is ended behind the block.

    Args:
        command: Its arguments, the name that it goes by first.
        executable: The program, where that is another one than the name.
        env: Its whole environment; ours when not given.
    """
    process = subprocess.Popen(command, executable=executable, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().endswith(b"\n")
        yield process.pid
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()
