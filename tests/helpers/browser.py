"""Chromium without a window, spoken to over pipes (the DevTools protocol): what a page shows, says and asks for.

It comes with no package of PyPI; tests that need it are skipped where no Chromium is installed (Debian: `chromium`).
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT = 60.0
"""Seconds for a machine that is busy with other tests."""


@dataclass
class View:
    """A page that is open at some width."""

    said: list[str] = field(default_factory=list)
    """Errors, warnings and messages of its console."""
    asked: list[str] = field(default_factory=list)
    """What it wanted to load, but data that it holds itself."""
    seen: Any = None
    """What an expression evaluates to there."""
    picture: bytes = b""


class Browser:
    """A running Chromium."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self._process, self._commands = process, commands
        self._answers = os.fdopen(answers, "rb")
        self._buffer, self._number = b"", 0

    def view(self, page: Path, width: int, expression: str, picture: bool = False) -> View:
        """Open a page in a window of so many CSS pixels."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        found, events = View(), list[dict[str, Any]]()
        for domain in ("Runtime", "Log", "Network", "Page"):
            self._ask(f"{domain}.enable", session, events)
        self._ask(
            "Emulation.setDeviceMetricsOverride", session, events, width=width, height=800, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        self._ask("Page.navigate", session, events, url=page.absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in events):
            events.append(self._read())
        result = self._ask("Runtime.evaluate", session, events, expression=expression, returnByValue=True)
        found.seen = result["result"].get("value", result)
        if picture:
            shot = self._ask("Page.captureScreenshot", session, events, captureBeyondViewport=True)
            found.picture = base64.b64decode(shot["data"])
        for event in events:
            values = event["params"]
            if event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                found.said.append(json.dumps(values))
            elif event["method"] == "Network.requestWillBeSent":
                found.asked.append(values["request"]["url"])
        found.asked = [url for url in found.asked if not url.startswith("data:")]
        return found

    def _ask(
        self, method: str, session: str | None = None, events: list[dict[str, Any]] | None = None, **values: Any
    ) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            if events is not None and "method" in answer:
                events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = self._answers.read1(1 << 16)
            assert part, f"Chromium has ended: {self._process.wait(WAIT)}"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def close(self) -> None:
        """End it."""
        os.close(self._commands)
        self._answers.close()
        try:
            self._process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A Chromium with a profile of its own; skips the test where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed")
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    words = [
        program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
        "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
        *(["--no-sandbox"] if os.getuid() == 0 else []),
    ]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", *words],
        pass_fds=(their_in, their_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(their_in)
    os.close(their_out)
    running = Browser(process, our_out, our_in)
    try:
        yield running
    finally:
        running.close()
