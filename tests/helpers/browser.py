"""A real browser, driven through chromedriver's HTTP interface."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def is_installed() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    def __init__(self, port: int, width: int = 360, height: int = 740) -> None:
        self._base = f"http://127.0.0.1:{port}"
        words = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        words += ["--disable-dev-shm-usage", f"--window-size={width},{height}"]
        mobile = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 2}}
        options = {"args": words, "mobileEmulation": mobile}
        wanted = {"alwaysMatch": {"browserName": "chrome",
                                  "goog:chromeOptions": options}}  # fmt: skip
        made = self._call("POST", "/session", {"capabilities": wanted})
        self._base += f"/session/{made['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self._base + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, address: str) -> None:
        self._call("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        body = {"script": script, "args": list(arguments)}
        return self._call("POST", "/execute/sync", body)

    def find(self, css: str) -> str:
        body = {"using": "css selector", "value": css}
        return str(self._call("POST", "/element", body)[ELEMENT])

    def click(self, css: str) -> None:
        self._call("POST", f"/element/{self.find(css)}/click")

    def keys(self, css: str, text: str) -> None:
        self._call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def text(self, css: str) -> str:
        return str(self._call("GET", f"/element/{self.find(css)}/text"))

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._call("DELETE", "")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
    )
    found = None
    try:
        assert driver.stdout is not None
        port = 0
        for line in driver.stdout:
            if "on port" in line and "started" in line:
                port = int(line.rsplit(" ", 1)[1].strip(" .\n"))
                break
        for attempt in range(3):
            try:
                found = Browser(port)
                break
            except OSError:
                if attempt == 2:
                    raise
                time.sleep(1)
        assert found is not None
        yield found
    finally:
        if found is not None:
            found.close()
        driver.terminate()
        driver.wait(20)
        if driver.stdout is not None:
            driver.stdout.close()
