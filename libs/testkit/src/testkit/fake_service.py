"""A service that does nothing, for tests of what starts services.

`python -m testkit.fake_service` listens on a port, writes it into the file named by the variable of
its environment that ends in `_PORT_FILE`, starts one child that outlives it, as an agent does, and
ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

__all__: list[str] = []


async def _serve() -> None:
    name = next(n for n in os.environ if n.startswith("WARMPOOL_") and n.endswith("_PORT_FILE"))
    port_file = Path(os.environ[name])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    orphan = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import signal; signal.pause()", start_new_session=True
    )
    (port_file.parent / f"{port_file.stem}.orphan").write_text(str(orphan.pid))
    part = port_file.with_suffix(".part")
    part.write_text(f"{server.sockets[0].getsockname()[1]}\n")
    part.replace(port_file)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
