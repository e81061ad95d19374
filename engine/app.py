"""The engine process: flags in, one model served, until it is told to stop.

``python -m engine --base starter --port 8081``. Flags win over ``TROUPE_BASE``, ``TROUPE_DTYPE``,
``TROUPE_QUANTIZE``, ``TROUPE_THREADS`` and ``TROUPE_ADAPTERS_ROOT``. It takes no tokens of any platform
and opens no database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from data.home import Home, write_atomically
from engine.config import STARTER, EngineConfig, engine_config
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.core import Core

__all__ = ["main"]

_log = logging.getLogger("engine")

DEFAULT_PORT = 8081
DEFAULT_HOME = "var"
PARENT_CHECK_S = 0.5
# Where a process on this machine reaches one that listens everywhere.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - read, not bound
REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS = (
    "base",
    "dtype",
    "quantize",
    "threads",
    "context",
    "max_running",
    "max_waiting",
    "max_adapters",
)


class PortTaken(EngineError):
    """The port is in use."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the engine and exits: 0 after a stop, 1 after one sentence on standard error, 2 on wrong use."""
    options = _parser(os.environ).parse_args(arguments)
    logging.basicConfig(level=options.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    home = Home(Path(os.environ.get("TROUPE_HOME") or DEFAULT_HOME))
    try:
        config = _config(options, home)
        listening = _bind(options.host, options.port)
        _quiet_libraries(config)
        code = asyncio.run(_serve(config, listening, home=home, parent=options.parent_pid))
    except* EngineError as errors:
        sys.stderr.write(f"{errors.exceptions[0]}\n")
        code = 1
    logging.shutdown()
    sys.stderr.flush()
    # The model's thread may be deep in a load; ending the interpreter under it would crash instead.
    os._exit(code)


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine",
        description="Serves one base model and its persona adapters over HTTP.",
        epilog="Example: python -m engine --base Qwen/Qwen3-8B --quantize nf4",
    )
    parser.add_argument(
        "--base", default=environment.get("TROUPE_BASE") or None, help="starter, a folder or a hub id"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes any free one")
    parser.add_argument(
        "--dtype", default=environment.get("TROUPE_DTYPE") or None, help="auto, float32 or bfloat16"
    )
    parser.add_argument(
        "--quantize", default=environment.get("TROUPE_QUANTIZE") or None, help="auto, nf4, int8 or none"
    )
    parser.add_argument("--threads", type=int, default=environment.get("TROUPE_THREADS") or None)
    parser.add_argument("--context", type=int, help="tokens of prompt and reply; at most what the base holds")
    parser.add_argument("--max-running", type=int, help="requests decoded in turn")
    parser.add_argument("--max-waiting", type=int, help="requests queued beyond those")
    parser.add_argument("--max-adapters", type=int)
    parser.add_argument(
        "--adapters-root",
        type=Path,
        action="append",
        default=[Path(root)] if (root := environment.get("TROUPE_ADAPTERS_ROOT")) else None,
        help="beside the shipped adapters, load from below these only; default: $TROUPE_HOME/adapters",
    )
    parser.add_argument("--parent-pid", type=int, help="end when this process is no longer the parent")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser


def _config(options: argparse.Namespace, home: Home) -> EngineConfig:
    values: dict[str, Any] = {name: getattr(options, name) for name in SETTINGS}
    starter = REPOSITORY / "data" / STARTER
    roots = (starter / "adapters", *(options.adapters_root or [home.adapters]))
    return engine_config({**values, "starter": starter, "adapters_roots": roots})


def _bind(host: str, port: int) -> socket.socket:
    """Takes the port before the model is loaded, without listening yet: callers are refused, not kept."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise PortTaken(
            f"The engine cannot use {host}:{port}: {error}; choose another with --port."
        ) from error
    return listening


def _quiet_libraries(config: EngineConfig) -> None:
    """Sets what the libraries read when they are imported: no hub unless a hub id was named."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    named_hub = "/" in config.base and not Path(config.base).exists()
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if not named_hub:
            os.environ[variable] = "1"
    # Its line about kernels-community is harmless, and the remedy it names would download binaries.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # peft 0.21 asks transformers 5.23 in the old way.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)


async def _serve(config: EngineConfig, listening: socket.socket, *, home: Home, parent: int | None) -> int:
    """Loads, listens, and ends on a signal, with its parent, or with the model's thread."""
    # Here and not above: --help and a wrong flag need not wait for torch.
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    from engine.core import Core  # noqa: PLC0415
    from engine.metrics import Metrics  # noqa: PLC0415
    from engine.server import listen, make_app  # noqa: PLC0415

    transformers_logging.disable_progress_bar()
    metrics = Metrics()
    core = Core(config, metrics)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch_parent(parent, stop))
        loading = group.create_task(core.start())
        stopping = group.create_task(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done() and not stop.is_set() and loading.exception() is None:
            _log.info("engine.ready base=%s quantize=%s", config.base, core.base.quantize)
            group.create_task(_stop_with(core.died, stop))
            with _note(home, core, listening) as announce:
                await listen(make_app(core, metrics), listening, stop=stop, end=core.stop, ready=announce)
        stop.set()
        for task in (watching, loading, stopping):
            task.cancel()
        core.died.set()
    return 1 if core.has_failed else 0


async def _watch_parent(parent: int | None, stop: asyncio.Event) -> None:
    """A supervisor that was killed cannot stop its child; the child notices that it was adopted."""
    while parent is not None and not stop.is_set():
        if os.getppid() != parent:
            stop.set()
        await asyncio.sleep(PARENT_CHECK_S)


async def _stop_with(died: asyncio.Event, stop: asyncio.Event) -> None:
    await died.wait()
    stop.set()


@contextmanager
def _note(home: Home, core: Core, listening: socket.socket) -> Iterator[Callable[[], None]]:
    """``engine.json`` tells other commands of this engine from when it listens until it ends."""
    path = home.engine_file

    def write() -> None:
        host, port = listening.getsockname()[:2]
        info = core.info()
        value = {
            "url": f"http://{WILDCARDS.get(host) or (f'[{host}]' if ':' in host else host)}:{port}",
            "pid": os.getpid(),
            "base_fingerprint": info.base_fingerprint,
            "tokenizer": info.tokenizer,
            "context": info.context,
        }
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(value))
        _log.info("engine.listening url=%s", value["url"])

    try:
        yield write
    finally:
        with suppress(OSError, ValueError):
            if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
                path.unlink()
