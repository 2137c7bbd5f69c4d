"""How long the server of an index takes with many clients at once.

python benchmarks/serve.py photos.index --clients 50 --requests 20

Serves the index in this process, and asks it from a process of its own, whose threads each send requests one after
another: thumbnails, facts, images, searches, and conditions. Prints p50 and p95 of the time from a request to the end
of its answer, and counts answers other than 200.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from record import record

import openjepa
from openjepa.exploring.serving import Server, listening

TOKEN = "a-token-of-the-benchmark"
Request = tuple[str, str, dict | None]
KINDS: dict[str, Callable[[random.Random, int], Request]] = {
    "thumbnail": lambda dice, count: ("GET", f"/api/thumbnails/{dice.randrange(count)}", None),
    "facts": lambda dice, count: ("GET", f"/api/images/{dice.randrange(count)}/facts", None),
    "image": lambda dice, count: ("GET", f"/api/images/{dice.randrange(count)}?size=512", None),
    "search": lambda dice, count: ("POST", "/api/search", {"image": dice.randrange(count), "top": 50}),
    "where": lambda dice, _: ("POST", "/api/where", {"where": f"brightness > {dice.random():.3f}"}),
}


def ask(connection: http.client.HTTPConnection, request: Request) -> tuple[int, float]:
    """The status of an answer, and how long it took."""
    method, path, body = request
    begun = time.perf_counter()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status, time.perf_counter() - begun


def client(port: int, seed: int, count: int, requests: int, found: list[tuple[str, int, float]]) -> None:
    """Requests one after another by one connection; 0 is the status of one that got no answer."""
    dice, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for _ in range(requests):
        kind = dice.choice(list(KINDS))
        try:
            found.append((kind, *ask(connection, KINDS[kind](dice, count))))
        except OSError:
            connection.close()
            found.append((kind, 0, 0.0))


def clients(port: int, number: int, count: int, requests: int, results: multiprocessing.Queue) -> None:
    found: list[tuple[str, int, float]] = []
    threads = [threading.Thread(target=client, args=(port, seed, count, requests, found)) for seed in range(number)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put((found, time.perf_counter() - begun))


def slow_parts(port: int) -> list[dict]:
    """How long what is computed once takes when it is first asked for, and when it is known."""
    rows = []
    for path in ("points?map=pca", "points", "columns/cluster", "columns/outlier", "duplicates"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
        first, again = (ask(connection, ("GET", f"/api/{path}", None)) for _ in range(2))
        rows.append({"kind": path, "status": first[0], "first_seconds": first[1], "again_seconds": again[1]})
        print(f"{path:>20}: {first[1]:.2f} s, then {1000 * again[1]:.1f} ms ({first[0]})", flush=True)
    return rows


def measure(folder: Path, number: int, requests: int, once: bool) -> list[dict]:
    index = openjepa.open_index(folder)
    spawn = multiprocessing.get_context("spawn")
    with listening("127.0.0.1", 0) as listener:
        server, port = Server(index, listener, "127.0.0.1", TOKEN, page=False), listener.getsockname()[1]
        thread = threading.Thread(target=server.run)
        thread.start()
        rows = slow_parts(port) if once else []
        for kind in KINDS:  # what is read once is read now
            ask(http.client.HTTPConnection("127.0.0.1", port, timeout=600), KINDS[kind](random.Random(0), len(index)))
        results: multiprocessing.Queue = spawn.Queue()
        process = spawn.Process(target=clients, args=(port, number, len(index), requests, results))
        process.start()
        found, seconds = results.get()
        process.join()
        server.stop()
        thread.join()
    rows += [summary(kind, [each for each in found if kind in ("all", each[0])]) for kind in (*KINDS, "all")]
    print(f"{number} clients, {len(found):,} requests, {len(found) / seconds:.0f} a second, {len(index):,} images")
    return rows


def summary(kind: str, found: list[tuple[str, int, float]]) -> dict:
    times = [seconds for _, status, seconds in found if status == 200]
    p50, p95 = (1000 * float(np.percentile(times, q)) if times else float("nan") for q in (50, 95))
    failed = len(found) - len(times)
    print(f"{kind:>20}: {len(found):5,} requests, p50 {p50:7.1f} ms, p95 {p95:7.1f} ms, {failed} failed", flush=True)
    return {"kind": kind, "requests": len(found), "failed": failed, "p50_ms": p50, "p95_ms": p95}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20, help="of each client")
    parser.add_argument("--once", action="store_true", help="time what is computed once too")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = measure(given.index, given.clients, given.requests, given.once)
    record("serve", rows=rows)
    if any(row.get("failed") for row in rows):
        raise SystemExit("some requests failed")


if __name__ == "__main__":
    main()
