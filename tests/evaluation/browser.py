"""A headless Chromium that opens a page at several widths and tells what went wrong."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile

NAMES = ("chromium", "chromium-browser", "google-chrome")

# What a reader sees: pictures that are there, text that is not cut off.
LOOK = """JSON.stringify({
  images: [...document.images].map(i => [i.alt, i.complete && i.naturalWidth > 0, i.clientWidth]),
  width: document.documentElement.clientWidth,
  content: document.documentElement.scrollWidth,
  outside: [...document.querySelectorAll("h1, h2, h3, p, dd, figcaption, img, .table")]
    .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + ": " + e.textContent.slice(0, 40)),
  text: Math.min(...[...document.querySelectorAll("p, td, th, dd, figcaption, nav a")]
    .map(e => parseFloat(getComputedStyle(e).fontSize))),
  dead: [...document.querySelectorAll("nav a")]
    .map(a => a.getAttribute("href")).filter(h => !document.querySelector(h)),
  loaded: performance.getEntriesByType("resource").map(r => r.name.slice(0, 60))
    .filter(n => !n.startsWith("data:")),
})"""


def find():
    """Path of a browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def look(program, url, widths, screenshots=None):
    """Open a page at widths in pixels: {width: what `LOOK` says}, and console errors.

    With `screenshots`, a folder, each width leaves a PNG there.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-dev-shm-usage", "--remote-debugging-port=0"),
                *(f"--user-data-dir={profile}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            address = _address(process)
            return asyncio.run(_visit(address, url, widths, screenshots))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
            process.stderr.close()


def _address(process):
    for line in process.stderr:
        if found := re.search(r"ws://127\.0\.0\.1:\d+", line):
            return found.group().replace("ws", "http", 1)
    raise RuntimeError("the browser ended before it could be asked")


async def _visit(address, url, widths, screenshots):
    import aiohttp

    async with aiohttp.ClientSession() as session:
        async with session.get(f"{address}/json/list") as answer:
            targets = json.loads(await answer.text())
        page = next(t for t in targets if t["type"] == "page")["webSocketDebuggerUrl"]
        async with session.ws_connect(page, max_msg_size=0) as socket:
            tab = _Tab(socket)
            for domain in ("Page", "Log", "Runtime", "Network"):
                await tab.call(f"{domain}.enable")
            found = {}
            for width in widths:
                await tab.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
                )  # fmt: skip
                await tab.call("Page.navigate", url=url)
                await tab.until("Page.loadEventFired")
                told = await tab.call("Runtime.evaluate", expression=LOOK, returnByValue=True)
                found[width] = json.loads(told["result"]["value"])
                if screenshots is not None:
                    shot = await tab.call("Page.captureScreenshot", captureBeyondViewport=True)
                    path = screenshots / f"{width}.png"
                    path.write_bytes(base64.b64decode(shot["data"]))
            return found, tab.errors


class _Tab:
    def __init__(self, socket):
        self.socket, self.number, self.errors, self.events = socket, 0, [], []

    async def _next(self):
        message = await self.socket.receive_json(timeout=120)
        method, told = message.get("method"), message.get("params", {})
        if method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(told["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.errors.append(str(told["args"]))
        elif method == "Network.loadingFailed":
            self.errors.append(told["errorText"])
        if method:
            self.events.append(method)
        return message

    async def call(self, method, **parameters):
        self.number += 1
        number = self.number
        if method == "Page.navigate":
            self.events.clear()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._next()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]

    async def until(self, event):
        while event not in self.events:
            await self._next()
