"""One attack in a process of its own: what it does is limited, watched and listed.

The process is forked from one that has imported everything, so that it costs no start. It makes its hostile files,
then runs one command of the command line on them. Watched are: files written outside of its folder, files opened
there, inputs that change, connections, programs and foreign code, memory, time, processes that stay, and what is
printed and written.
"""

import ctypes
import faulthandler
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import attack_outputs

SECONDS, MEMORY = 5.0, 1.5 * 2**30  # that a case may cost beyond the harmless one; bytes of each of its processes
IMPORTS = 0.4 * 2**30  # bytes that are counted for the modules of a command; all that a worker has imported are more
IDLE, WALL = 30.0, 300.0  # seconds until a process is ended that only waits, or any, on a machine that may be busy
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {  # audit events that change files, and which of their arguments are paths
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.mkfifo": (0,),
    "shutil.rmtree": (0,),
}
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn")
CODE = {"os", "posix", "subprocess", "sys", "importlib", "runpy", "shutil", "socket", "webbrowser", "ctypes"}
EVENTS = 0x2 | 0x4 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400  # of inotify: modified to deleted, and opened
NO_LIMIT = resource.RLIM_INFINITY


@dataclass
class Outcome:
    """What came of a case: the exit code (-1: none), seconds of CPU, bytes, what was printed, what is wrong."""

    code: int = -1
    seconds: float = 0.0
    memory: int = 0
    said: str = ""
    wrong: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)


class Guard:
    """A folder beside the case that nothing may open, and a listener that nothing may call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        libc = ctypes.CDLL(None, use_errno=True)
        self.watch = libc.inotify_init1(os.O_NONBLOCK)
        for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            libc.inotify_add_watch(self.watch, os.fsencode(place), EVENTS)
        self.events()

    def events(self) -> list[str]:
        """What happened to the folder since the last call."""
        found = []
        while select.select([self.watch], [], [], 0)[0]:
            data = os.read(self.watch, 65536)
            while data:
                _, mask, _, length = struct.unpack_from("iIII", data)
                name = data[16 : 16 + length].rstrip(b"\0").decode(errors="replace")
                what = "read outside" if mask & 0x20 else "wrote outside"
                found.append(f"{what}: {name or '.'} of the guarded folder")
                data = data[16 + length :]
        return list(dict.fromkeys(found))[:5]

    def calls(self) -> list[str]:
        """What was asked of the listener since the last call."""
        found = []
        while select.select([self.listener], [], [], 0)[0]:
            connection, _ = self.listener.accept()
            connection.settimeout(0.2)
            try:
                asked = connection.recv(200).split(b"\r\n")[0].decode(errors="replace")
            except OSError:
                asked = ""
            connection.close()
            found.append(f"connected: {asked}")
        return found


def no_network() -> bool:
    """Put this process and its children into a network namespace with nothing but loopback, where that is allowed."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
        return False
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 1 | 64))  # up and running
    return True


def run(make: Callable[[Path], list[str]], folder: Path, guard: Guard, seconds: float) -> Outcome:
    """Run the words of a command line that `make` gives, in a child, in `folder`, which is emptied before.

    `seconds` are what the same command needs for harmless files.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("in", "work", "cache", "tmp"):
        (folder / name).mkdir(parents=True)
    pid = os.fork()
    if not pid:
        _be_attacked(make, folder, guard)
    outcome = Outcome()
    status = _watch(pid, outcome, seconds + 2 * SECONDS)
    _read_notes(folder, outcome)
    if status and os.WIFSIGNALED(status) and not outcome.wrong:
        outcome.wrong.append(f"crashed: {signal.Signals(os.WTERMSIG(status)).name}")
    elif status is not None and os.WIFEXITED(status):
        outcome.code = os.WEXITSTATUS(status)
        if outcome.code not in (0, 1, 2, 70, 99) and not outcome.wrong:
            outcome.wrong.append(f"crashed: exit code {outcome.code}")
    if outcome.seconds > seconds + SECONDS:
        outcome.wrong.append(f"hung: {outcome.seconds:.1f} s")
    if outcome.memory > MEMORY:
        outcome.wrong.append(f"grew: {outcome.memory / 2**20:,.0f} MiB")
    outcome.wrong += _left_over(pid) + guard.events() + guard.calls()
    outcome.wrong += attack_outputs.printed((folder / "out").read_text("utf-8", "replace"), outcome.said, outcome.code)
    return outcome


def _watch(pid: int, outcome: Outcome, limit: float) -> int | None:
    """Wait for a process; None if it had to be ended, because it took `limit` seconds of CPU or other things."""
    begun, pause, first = time.monotonic(), 0.001, _resident(os.getpid())
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
        memory, taken = _cost(pid, first)
        outcome.memory, outcome.seconds = max(outcome.memory, memory), taken
        passed = time.monotonic() - begun
        slow = taken > limit or passed > WALL or (passed > IDLE and taken < 0.03 * passed)
        if memory > MEMORY or slow:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if slow:
                outcome.wrong.append(f"hung: ended after {passed:.0f} s, {taken:.1f} s of CPU")
            return None


def _cost(pid: int, first: int) -> tuple[int, float]:
    """Bytes of the largest of a process and its children, which began with `first` bytes, and their seconds of CPU."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        taken = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        costs = [(grown(_resident(pid), first), taken), *(_cost(int(child), first) for child in children)]
        return max(memory for memory, _ in costs), sum(seconds for _, seconds in costs)
    except (OSError, ValueError, IndexError):
        return 0, 0.0


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def grown(memory: int, first: int) -> int:
    """Bytes of a process as if it had imported nothing but what it needs."""
    return int(memory - first + IMPORTS) if memory > first else memory


def _left_over(pid: int) -> list[str]:
    """A finding if processes of a finished one are still there after a moment; they are ended."""
    for _ in range(40):
        try:
            os.killpg(pid, 0)
        except OSError:
            return []
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    return ["left a process"]


def _read_notes(folder: Path, outcome: Outcome) -> None:
    outcome.said = (folder / "err").read_text("utf-8", "replace")[-20_000:] if (folder / "err").exists() else ""
    for line in (folder / "notes").read_text("utf-8", "replace").splitlines():
        what, _, value = line.partition("\t")
        if what == "seconds":
            outcome.seconds = float(value)
        elif what == "memory":
            outcome.memory = max(outcome.memory, int(value))
        elif what == "modules":
            outcome.modules = value.split()
        elif value not in outcome.wrong and len(outcome.wrong) < 20:
            outcome.wrong.append(value)


class Notes:
    """A file that a process writes findings to as they are made, so that they outlive it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.armed = folder, False
        self.file = os.open(folder / "notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, what: str, value: object) -> None:
        armed, self.armed = self.armed, False
        os.write(self.file, f"{what}\t{' '.join(str(value).split())[:2000]}\n".encode("utf-8", "backslashreplace"))
        self.armed = armed

    def hear(self, event: str, arguments: tuple) -> None:
        """An audit hook."""
        if not self.armed:
            return
        if event == "open":
            self._opened(*arguments)
        elif event in PATHS:
            for number in PATHS[event]:
                self._changed(event, arguments[number])
        elif event in NETWORK and not (event == "socket.connect" and isinstance(arguments[1], str | bytes)):
            self.add("wrong", f"connected: {event} {arguments[1:3]}")
        elif event in PROGRAMS:
            self._started(event, arguments)
        elif (event == "pickle.find_class" and (arguments[0] in CODE or arguments[1] in ("eval", "exec"))) or (
            event in ("import", "ctypes.dlopen") and str(self.folder) in str(arguments[:2])
        ):
            self.add("wrong", f"ran code: {event} {arguments[:2]}")

    def _opened(self, path: object, mode: object, flags: int) -> None:
        if (isinstance(flags, int) and flags & WRITING) or (isinstance(mode, str) and set(mode) & set("wax+")):
            self._changed("open", path)

    def _changed(self, event: str, path: object) -> None:
        if isinstance(path, int) or path is None:
            return
        self.armed = False
        place = os.path.realpath(os.fsdecode(path))
        inside = place.startswith(
            (str(self.folder) + os.sep, os.environ["HOME"], "/dev/", "/proc/self/")
        ) or place == str(self.folder)
        self.armed = True
        if not inside:
            self.add("wrong", f"wrote outside: {event} {place}")

    def _started(self, event: str, arguments: tuple) -> None:
        if str(arguments[0]) not in (sys.executable, "/sbin/ldconfig"):  # which ctypes asks for libraries
            self.add("wrong", f"ran a program: {event} {arguments[:2]}")


def _be_attacked(make: Callable[[Path], list[str]], folder: Path, guard: Guard) -> None:
    """Never returns. The exit code is that of the command; 70 for an exception, 99 where the files cannot be made."""
    os.setsid()
    _redirect(folder, guard)
    notes, status = Notes(folder), 99
    try:
        words = make(folder)
        known = attack_outputs.hashes(folder / "in")
        sys.stderr.flush()
        os.truncate(folder / "err", 0)
        loaded, first = set(sys.modules), _resident(os.getpid())
        os.chdir(folder / "work")
        sys.addaudithook(notes.hear)
        begun = _seconds()
        notes.armed = True
        status = _command(words, notes)
        notes.armed = False
        notes.add("seconds", _seconds() - begun)
        peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        notes.add("memory", max(grown(peak * 1024, first) for peak in peaks))
        notes.add("modules", " ".join(sys.modules.keys() - loaded))
        for finding in (*attack_outputs.changed(folder / "in", known), *attack_outputs.written(folder / "work")):
            notes.add("wrong", finding)
    except BaseException:
        traceback.print_exc()
        notes.add("wrong", f"attack.py failed: {traceback.format_exc()[-1500:]}")
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _redirect(folder: Path, guard: Guard) -> None:
    """Streams into files, all that openjepa keeps into the folder, and proxies that count."""
    for number, name in ((0, os.devnull), (1, folder / "out"), (2, folder / "err")):
        handle = os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "r" if n == 0 else "w", closefd=False) for n in range(3))
    faulthandler.enable()
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), guard.url)
    os.environ.update(proxies, OPENJEPA_CACHE=str(folder / "cache"), TMPDIR=str(folder / "tmp"), COLUMNS="200")
    tempfile.tempdir = str(folder / "tmp")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, NO_LIMIT))
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + 8 * 2**30, NO_LIMIT))


def _seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _command(words: list[str], notes: Notes) -> int:
    from openjepa import cli

    sys.argv = ["openjepa", *words]
    try:
        cli.main()
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 70
    except BaseException as error:
        notes.add("wrong", f"traceback: {_where(error)}")
        traceback.print_exc()
        return 70


def _where(error: BaseException) -> str:
    """The exception with the last place in openjepa that it came through."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "openjepa" in frame.filename]
    last = places[-1] if places else None
    place = f"{Path(last.filename).name}:{last.lineno} {last.name}" if last else "?"
    return f"{type(error).__name__} in {place}: {str(error)[:300]}"
