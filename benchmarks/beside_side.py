"""One checkout's server, loaded whenever a line of standard input asks for it; see :mod:`benchmarks.beside`.

Run as a file with the other checkout on ``PYTHONPATH``, so it uses only what benchmarks have had for long.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from benchmarks import serving_load, serving_wrk
from benchmarks.common import scratch_home, serving
from benchmarks.serving import USERS, server_processes
from benchmarks.serving_load import Plan


def main(home: Path) -> None:
    """Serve a copy of a home and answer orders until standard input ends."""
    with scratch_home(home, {}) as copy, serving(copy) as server:
        with closing(sqlite3.connect(copy / "recserve.db")) as database:
            items = [row[0] for row in database.execute("SELECT item_id FROM items LIMIT 1000")]
        processes = server_processes(copy)
        print("ready", flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            limit = order["load"] == "no-op"
            plan = Plan(
                server.port,
                "/v1/health/live" if limit else "/v1/recommend",
                order["connections"],
                order["seconds"],
                users=() if limit else USERS,
                items=items,
                fresh="fresh" in order["load"],
                novel=0.1 if order["load"] == "mixed" else 0.0,
                explain="explained" in order["load"],
                seed=order["seed"],
                processes=processes,
            )
            anew = plan.fresh or plan.novel > 0 or not serving_wrk.available()
            found = serving_load.run(plan).summary() if anew else serving_wrk.run(plan)
            said = {"rate": found.rate, "cpu": found.cpu["Ingress"], "failed": found.failed}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
