"""The table of ways in which node:fs changes a file: a piece of code, and the changes that it makes, in order."""

from dataclasses import dataclass
from typing import Final

BEFORE: Final = b'{"type":"session","id":"s1"}\n'
"""What the session file holds at first."""

BESIDE: Final = b'{"type":"session","id":"s2"}\n{"id":"a"}\n'
"""What the file beside it holds."""

SIZE: Final = len(BEFORE)

Expected = tuple[str, bytes, int]
"""Operation, bytes, offset. A cut has as many bytes as are left."""


@dataclass(frozen=True)
class Case:
    """A piece of code and what it does."""

    code: str
    changes: tuple[Expected, ...]

    def __str__(self) -> str:
        return self.code


def append(data: bytes, at: int = SIZE) -> Expected:
    return ("append", data, at)


def write(data: bytes, at: int) -> Expected:
    return ("write", data, at)


def rewrite(data: bytes) -> Expected:
    return ("rewrite", data, 0)


def cut(left: int) -> Expected:
    return ("truncate", b"\0" * left, left)


REMOVE: Final = ("remove", b"", -1)
TOUCH: Final = ("metadata", b"", -1)
UNKNOWN: Final = ("write", b"", -1)
EMPTIED: Final = rewrite(b"")
AB: Final = append(b"ab")


def case(code: str, *changes: Expected) -> Case:
    return Case(code, changes)


def opened(flag: str, code: str, *changes: Expected) -> Case:
    """With a descriptor that was opened with ``flag``, which is JavaScript."""
    return Case(f"fd = fs.openSync(file, {flag}); {code}", changes)


def called(code: str, *changes: Expected) -> Case:
    """With the callback ``cb``."""
    return Case(f"await called((cb) => {code})", changes)


def opened_called(flag: str, code: str, *changes: Expected) -> Case:
    """Both, and the file is opened that way, too."""
    return Case(f"fd = await called((cb) => fs.open(file, {flag}, cb)); await called((cb) => {code})", changes)


def handled(flag: str, code: str, *changes: Expected) -> Case:
    """With a FileHandle."""
    return Case(f"handle = await fsp.open(file, {flag}); {code}", changes)


def streamed(stream: str, *changes: Expected) -> Case:
    """Through a stream to which "ab" is written."""
    return Case(f'const s = {stream}; s.end("ab"); await finished(s)', changes)


_OWNER: Final = "process.getuid(), process.getgid()"
_WRONLY: Final = "fs.constants.O_WRONLY"
_CUT: Final = "fs.constants.O_TRUNC"

_IN_EACH_WAY: Final = (
    ("appendFile", 'file, "ab"', AB),
    ("appendFile", 'file, "ff00", "hex"', append(b"\xff\x00")),
    ("writeFile", 'file, "whole\\n"', rewrite(b"whole\n")),
    ("writeFile", 'file, "ab", { flag: "a" }', AB),
    ("truncate", "file", cut(0)),
    ("rename", "beside, file", rewrite(BESIDE)),
    ("rename", "file, beside", REMOVE),
    ("copyFile", "beside, file", rewrite(BESIDE)),
    ("cp", "beside, file", rewrite(BESIDE)),
    ("unlink", "file", REMOVE),
    ("rm", "file", REMOVE),
    ("link", "file, `${beside}.2`", TOUCH),
    ("utimes", "file, 1, 2", TOUCH),
    ("lutimes", "file, 1, 2", TOUCH),
    ("chmod", "file, 0o600", TOUCH),
    ("chown", f"file, {_OWNER}", TOUCH),
    ("lchown", f"file, {_OWNER}", TOUCH),
)
"""Function, arguments and change of what node:fs has synchronously, with a callback and as a promise."""

_EACH_WAY: Final = tuple(
    made
    for name, arguments, change in _IN_EACH_WAY
    for made in (
        case(f"fs.{name}Sync({arguments})", change),
        called(f"fs.{name}({arguments}, cb)", change),
        case(f"await fsp.{name}({arguments})", change),
    )
)

_BY_NAME: Final = (
    case('fs.appendFileSync(file, "é\\n")', append("é\n".encode())),
    case('fs.appendFileSync(file, "é", { encoding: "latin1" })', append(b"\xe9")),
    case('fs.appendFileSync(file, Buffer.from("xab").subarray(1))', AB),
    case("fs.appendFileSync(file, new DataView(new ArrayBuffer(2)))", append(b"\0\0")),
    case('fs.writeFileSync(file, "")', EMPTIED),
    case('fs.writeFileSync(file, "ab", { flag: "sa" })', AB),
    case(f'fs.writeFileSync(file, "ab", {{ flag: {_WRONLY} | fs.constants.O_APPEND }})', AB),
    case('fs.unlinkSync(file); fs.writeFileSync(file, "ab", { flag: "xw" })', REMOVE, rewrite(b"ab")),
    case('fs.unlinkSync(file); fs.appendFileSync(file, "ab")', REMOVE, append(b"ab", 0)),
    case("fs.truncateSync(file, -3)", cut(0)),
    case('fs.truncateSync(file, 0); fs.appendFileSync(file, "ab")', cut(0), append(b"ab", 0)),
    case("fs.renameSync(file, file)", rewrite(BEFORE)),
    case("fs.copyFileSync(file, beside)"),
    case("fs.rmSync(file, { force: true })", REMOVE),
    case("fs.unlinkSync(file); fs.linkSync(beside, file)", REMOVE, rewrite(BESIDE)),
)

_BY_DESCRIPTOR: Final = (
    opened('"a"', 'fs.appendFileSync(fd, "ab")', AB),
    opened('"a"', 'fs.writeFileSync(fd, "ab"); fs.writeSync(fd, "c")', AB, append(b"c", SIZE + 2)),
    opened('"a"', 'fs.writeSync(fd, "é", null, "latin1")', append(b"\xe9")),
    opened('"a"', 'fs.writeSync(fd, Buffer.from("xabx"), 1, 2)', AB),
    opened('"a"', 'fs.writeSync(fd, Buffer.from("xab"), 1)', AB),
    opened('"a"', 'fs.writeSync(fd, Buffer.from("xabx"), { offset: 1, length: 2 })', AB),
    opened('"a"', 'fs.writeSync(fd, "ab", 0)', AB),
    opened('"a"', 'fs.writevSync(fd, [Buffer.from("a"), Buffer.from("b")])', AB),
    opened('"a+"', 'fs.writevSync(fd, [Buffer.from("ab")], 0)', AB),
    opened('"as"', 'fs.writeSync(fd, "ab")', AB),
    opened('"sa+"', 'fs.writeSync(fd, "ab")', AB),
    opened('"a"', 'fs.ftruncateSync(fd); fs.writeSync(fd, "ab")', cut(0), append(b"ab", 0)),
    opened('"w"', 'fs.writeSync(fd, "ab"); fs.writeSync(fd, "c")', EMPTIED, append(b"ab", 0), append(b"c", 2)),
    opened('"w+"', 'fs.writeSync(fd, "ab", 0); fs.writeSync(fd, "c", 2)', EMPTIED, append(b"ab", 0), append(b"c", 2)),
    opened(f"{_WRONLY} | {_CUT}", 'fs.writeSync(fd, "ab")', EMPTIED, append(b"ab", 0)),
    opened(f"{_WRONLY} | {_CUT} | fs.constants.O_APPEND", 'fs.writeSync(fd, "ab", 5)', EMPTIED, append(b"ab", 0)),
    opened('"r+"', 'fs.writeSync(fd, "ab", fs.fstatSync(fd).size)', AB),
    opened('"r+"', "fs.futimesSync(fd, 1, 2); fs.fchmodSync(fd, 0o600)", TOUCH, TOUCH),
    opened('"r+"', f"fs.fchownSync(fd, {_OWNER})", TOUCH),
    case('fs.unlinkSync(file); fd = fs.openSync(file, "a")', REMOVE, append(b"", 0)),
    case('fs.unlinkSync(file); fd = fs.openSync(file, "wx")', REMOVE, EMPTIED),
    opened('"a"', 'fs.closeSync(fd); fd = fs.openSync(beside, "a"); fs.writeSync(fd, "ab")'),
)

_BY_CALLBACK: Final = (
    opened_called('"a"', 'fs.write(fd, "ab", cb)', AB),
    opened_called('"a"', 'fs.write(fd, Buffer.from("xabx"), 1, 2, 0, cb)', AB),
    opened_called('"a"', 'fs.writev(fd, [Buffer.from("ab")], cb)', AB),
    opened_called('"a"', 'fs.appendFile(fd, "ab", cb)', AB),
    opened_called('"w", 0o600', 'fs.write(fd, "ab", cb)', EMPTIED, append(b"ab", 0)),
    opened_called('"r+"', "fs.ftruncate(fd, 0, cb)", cut(0)),
    opened_called('"r+"', "fs.fchmod(fd, 0o600, cb)", TOUCH),
    opened_called('"r+"', "fs.futimes(fd, 1, 2, cb)", TOUCH),
    called("fs.truncate(file, 0, cb)", cut(0)),
    case('await promisify(fs.appendFile)(file, "ab")', AB),
    opened('"a"', 'if ((await promisify(fs.write)(fd, Buffer.from("ab"))).bytesWritten !== 2) throw "lost"', AB),
    called('fs.rm(file, () => { fs.writeFileSync(file, "ab"); cb(); })', REMOVE, rewrite(b"ab")),
)

_BY_HANDLE: Final = (
    handled('"a+"', 'await handle.appendFile("ab"); await handle.writeFile("c")', AB, append(b"c", SIZE + 2)),
    handled('"a"', 'await handle.write("é", null, "latin1")', append(b"\xe9")),
    handled('"a"', 'await handle.write(Buffer.from("xabx"), 1, 2)', AB),
    handled('"a"', 'await handle.write(Buffer.from("xabx"), { offset: 1, length: 2 })', AB),
    handled('"a"', 'await handle.writev([Buffer.from("a"), Buffer.from("b")])', AB),
    handled('"a"', 'await fsp.appendFile(handle, "ab"); await fsp.writeFile(handle, "c")', AB, append(b"c", SIZE + 2)),
    handled('"a"', 'fs.writeSync(handle.fd, "ab")', AB),
    handled('"w"', 'await handle.write("ab"); await handle.write("c")', EMPTIED, append(b"ab", 0), append(b"c", 2)),
    handled('"r+"', "await handle.truncate()", cut(0)),
    handled('"r+"', 'await handle.write("ab", (await handle.stat()).size)', AB),
    handled('"r+"', "await handle.chmod(0o600); await handle.utimes(1, 2)", TOUCH, TOUCH),
    handled('"r+"', f"await handle.chown({_OWNER})", TOUCH),
    case('await (await fsp.open(file, "a")).close(); await called((cb) => fs.appendFile(file, "ab", cb))', AB),
)

_BY_STREAM: Final = (
    streamed('fs.createWriteStream(file, { flags: "a" })', AB),
    streamed("fs.createWriteStream(file)", EMPTIED, append(b"ab", 0)),
    streamed('new fs.WriteStream(file, { flags: "a" })', AB),
    streamed('fs.createWriteStream("", { fd: fs.openSync(file, "a") })', AB),
    streamed('fs.createWriteStream("", { fd: await fsp.open(file, "a") })', AB),
    streamed('(await fsp.open(file, "a")).createWriteStream()', AB),
    case(
        'const s = fs.createWriteStream(file, { flags: "a" }); s.cork(); s.write("a"); s.write("b"); s.uncork();'
        " await finished(s.end())",
        AB,
    ),
    case('await pipeline(Readable.from(["ab"]), fs.createWriteStream(file, { flags: "a" }))', AB),
)

SEQUENTIAL: Final = (*_EACH_WAY, *_BY_NAME, *_BY_DESCRIPTOR, *_BY_CALLBACK, *_BY_HANDLE, *_BY_STREAM)
"""One call at a time, with bytes whose place is known."""

UNTELLABLE: Final = (
    case('await fsp.writeFile(file, ["a", "b"], { flag: "a" })', UNKNOWN),
    case('await fsp.writeFile(file, Readable.from(["a", "b"]))', UNKNOWN),
    case('fs.writeFileSync(file, "ab", { flag: "r+" })', write(b"ab", 0)),
    opened('"r+"', 'fs.writeSync(fd, "ab")', write(b"ab", -1)),
    opened('"sr+"', 'fs.writeSync(fd, "ab")', write(b"ab", -1)),
    opened('"r+"', 'fs.writeSync(fd, "ab", 3)', write(b"ab", 3)),
    opened('"r+"', 'fs.writeSync(fd, "ab", 1.5)', write(b"ab", -1)),
    opened('"r+"', 'fs.writeSync(fd, "ab", 100)', UNKNOWN),
    opened('"w"', 'fs.writeSync(fd, "abc", 0); fs.writeSync(fd, "d")', EMPTIED, append(b"abc", 0), write(b"d", -1)),
    opened(
        '"w"',
        'fs.writeSync(fd, "ab"); fs.ftruncateSync(fd); fs.writeSync(fd, "d")',
        *(EMPTIED, append(b"ab", 0), cut(0), write(b"d", -1)),
    ),
    case("fs.truncateSync(file, 99)", cut(99)),
    case("fs.truncateSync(file, 7)", cut(7)),
    streamed('fs.createWriteStream(file, { flags: "r+", start: 3 })', write(b"ab", 3)),
)
"""Writes in the middle, holes, and bytes that are not known beforehand."""

OVERLAPPING: Final = (
    'await Promise.all(["a\\n", "bb\\n", "ccc\\n"].map((text) => fsp.appendFile(file, text)))',
    'await Promise.all([fsp.appendFile(file, "a\\n"), called((cb) => fs.appendFile(file, "bb\\n", cb))])',
    'const late = fsp.appendFile(file, "late\\n"); fs.appendFileSync(file, "soon\\n"); await late',
    'handle = await fsp.open(file, "a"); await Promise.all([handle.appendFile("a\\n"), handle.write("bb\\n")])',
)

FLOATING: Final = (
    'fd = fs.openSync(file, "r+"); fs.readFileSync(fd); fs.writeSync(fd, "ab")',
    'fd = fs.openSync(file, "w"); await Promise.all(["a", "bb"].map((text) => called((cb) => fs.write(fd, text, cb))))',
)
"""Bytes that are known and go where a cursor stands, which is not."""

FAILING: Final = (
    ('fs.writeFileSync(file, "x", { flag: "wx" })', "EEXIST"),
    ('fs.openSync(file, "wx")', "EEXIST"),
    ('await fsp.writeFile(file, "x", { flag: "wx" })', "EEXIST"),
    ("fs.copyFileSync(beside, file, fs.constants.COPYFILE_EXCL)", "EEXIST"),
    ("fs.linkSync(beside, file)", "EEXIST"),
    ("fs.renameSync(`${beside}.absent`, file)", "ENOENT"),
    ("fs.truncateSync(file, 1.5)", "ERR_OUT_OF_RANGE"),
    ("fs.chmodSync(file, 'nonsense')", "ERR_INVALID_ARG_VALUE"),
    ("fs.appendFileSync(file, { no: 'text' })", "ERR_INVALID_ARG_TYPE"),
    ("await called((cb) => fs.appendFile(file, { no: 'text' }, cb))", "ERR_INVALID_ARG_TYPE"),
    ("await called((cb) => fs.utimes(file, 'never', 'ever', cb))", "ERR_INVALID_ARG_TYPE"),
)
"""Code that changes nothing, and the code of its error."""

BREAKING_OFF: Final = (
    "fs.writeFileSync(file, 'x'.repeat(5000))",
    "fs.appendFileSync(file, 'x'.repeat(5000))",
    "fs.appendFileSync(fs.openSync(file, 'a'), 'x'.repeat(5000))",
    "fs.copyFileSync(beside, file)",
    "await called((cb) => fs.writeFile(file, 'x'.repeat(5000), cb))",
    "await called((cb) => fs.appendFile(fs.openSync(file, 'a'), 'x'.repeat(5000), cb))",
    "await fsp.appendFile(file, 'x'.repeat(5000))",
    "await (await fsp.open(file, 'a')).appendFile('x'.repeat(5000))",
)
"""Code that fails when the file reaches 4096 bytes."""

FALLING_SHORT: Final = (
    "return fs.writeSync(fs.openSync(file, 'a'), 'x'.repeat(5000))",
    "return fs.writevSync(fs.openSync(file, 'a'), [Buffer.alloc(2000, 'x'), Buffer.alloc(3000, 'x')])",
    "return await called((cb) => fs.write(fs.openSync(file, 'a'), 'x'.repeat(5000), cb))",
    "return (await (await fsp.open(file, 'a')).write('x'.repeat(5000))).bytesWritten",
)
"""Code that stops at 4096 bytes and says how many it wrote."""

NAMED_OTHERWISE: Final = (
    "Buffer.from(file)",
    "new Uint8Array(Buffer.from(file))",
    'new URL(`file://${file.replaceAll(" ", "%20")}`)',
    '`${dir}/../sessions/./${file.split("/").at(-1)}`',
    '`${dir}/../alias/sessions/${file.split("/").at(-1)}`',
    "file.slice(process.cwd().length + 1)",
)
"""The session file by other names, in a process whose directory is above it."""

NO_SESSION_FILES: Final = (
    "x.json",
    "x.trajectory.jsonl",
    "x.jsonl.lock",
    "x.jsonl.reset.1700000000",
    "deeper/x.jsonl",
    "../elsewhere/x.jsonl",
)
"""Relative to the sessions directory."""

EVERYTHING: Final = """
  fs.writeFileSync(file, "a"); fs.appendFileSync(file, "b"); await fsp.appendFile(file, "c");
  const own = fs.openSync(file, "a"); fs.writeSync(own, "d"); fs.closeSync(own);
  await finished(fs.createWriteStream(file, { flags: "a" }).end("e"));
  const open = await fsp.open(file, "a"); await open.appendFile("f"); await open.close();
  fs.renameSync(file, `${file}.2`); fs.copyFileSync(`${file}.2`, file); fs.truncateSync(file, 2);
  fs.chmodSync(file, 0o600); fs.unlinkSync(`${file}.2`);
"""
"""Leaves "ab"."""
