"""The page in a real browser against the real player; and who is let in."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import browser, is_installed
from shows import Show

from edgestem.errors import EdgestemError
from edgestem.play.commands import Console
from edgestem.play.doors.page import COOKIE, LOOK_S, MAX_LISTENERS, Page
from edgestem.play.doors.token import kept_token
from edgestem.play.items import Item
from edgestem.play.set_file import SetFile
from edgestem.play.setlist import read_set_list

RATE = 44100


@pytest.fixture
def show(write_song: Callable[..., Path]) -> Iterator[Show]:
    t = np.arange(30 * RATE) / RATE
    swell = (0.5 + 0.4 * np.sin(2 * np.pi * t / 7)) * np.sin(2 * np.pi * 220 * t) * 0.5
    x = np.repeat(swell[:, None], 2, 1).astype(np.float32)
    names = ("First song", "Second song", "A song with a rather long name")
    items = [Item(write_song(f"{n}.wav", x, subtype="PCM_16")) for n in names]
    with Show(items, is_timed=True, ahead_s=1.0) as found:  # on a busy machine, too
        yield found


@pytest.fixture
def page(show: Show) -> Iterator[Page]:
    found = Page(Console(show.player, is_locked=True), show.said.append, port=0)
    found.start()
    yield found
    found.close()


def ask(
    page: Page, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, dict(answer.getheaders())


def test_nobody_gets_in_without_the_token(page: Page) -> None:
    own = {"Host": f"127.0.0.1:{page.port}"}
    for path in ("/", "/?t=wrong", "/events", "/state", "/waves"):
        assert ask(page, "GET", path, **own)[0] == 401
    assert ask(page, "POST", "/do", "play", **own)[0] == 401
    token = own | {"X_Token": page.token}
    status, _, headers = ask(page, "GET", f"/?t={page.token}", **own)
    assert status == 303 and "SameSite=Strict" in headers["Set-Cookie"]
    cookie = own | {"Cookie": f"{COOKIE}={page.token}"}
    status, text, headers = ask(page, "GET", "/", **cookie)
    assert status == 200 and "<title>" in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in text.replace("</html>", "").replace("<!doctype html>", "")
    # A name that somebody points at us, and a page of somebody else's.
    assert ask(page, "GET", "/state", **(token | {"Host": "evil.example:80"}))[0] == 403
    foreign = token | {"Origin": "http://evil.example"}
    assert ask(page, "POST", "/do", "play", **foreign)[0] == 403
    assert ask(page, "POST", "/do", "play", **(token | {"Origin": "null"}))[0] == 403
    good = token | {"Origin": f"http://127.0.0.1:{page.port}"}
    assert ask(page, "POST", "/do", "vocals -3", **good)[:2] == (200, "vocals -3 dB")
    assert ask(page, "POST", "/do", "x" * 501, **good)[0] == 400
    assert ask(page, "POST", "/other", "play", **good)[0] == 400
    assert ask(page, "GET", "/passwd", **token)[0] == 404


def test_the_lock_keeps_edits_away(page: Page) -> None:
    token = {"X_Token": page.token}
    for line in ("key +1", "tempo 90", "unlock", "quit", "save", "order 1 2"):
        status, text, _ = ask(page, "POST", "/do", line, **token)
        assert status == 409 and "locked" in text
    assert ask(page, "POST", "/do", "no such", **token)[0] == 409
    page.console.do("unlock")
    assert ask(page, "POST", "/do", "key +1", **token)[:2] == (200, "key +1")


def test_a_port_that_is_taken_is_one_sentence(page: Page) -> None:
    with pytest.raises(EdgestemError, match="--page PORT"):
        Page(page.console, print, port=page.port)


def test_phones_come_and_go(page: Page, show: Show) -> None:
    """Twenty listen, many reload: none is kept, and nothing is late."""
    show.player.play()
    show.wait_state("playing")
    n_late = show.player.desk.n_late

    def listen() -> socket.socket:
        s = socket.create_connection(("127.0.0.1", page.port), timeout=10)
        s.sendall(
            f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
            f"X-Token: {page.token}\r\n\r\n".encode()
        )
        return s

    phones = [listen() for _ in range(20)]
    for _ in range(30):
        listen().close()
        time.sleep(0.02)
    for phone in phones:
        data = b""
        while b"data: {" not in data:
            data += phone.recv(4096)
    show.wait(lambda: 20 <= page.n_listeners <= 21)
    more = [listen() for _ in range(MAX_LISTENERS)]
    answers = [s.recv(12) for s in more]
    assert b"HTTP/1.1 503" in answers
    for s in (*phones, *more):
        s.close()
    show.wait(lambda: page.n_listeners == 0)
    assert show.player.desk.n_late == n_late


def test_news_are_written_once_for_all_phones(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, status = list[int](), page.console.status
    monkeypatch.setattr(page.console, "status", lambda: asked.append(1) or status())
    began = time.monotonic()
    for _ in range(20):
        page.news()
    assert len(asked) <= 1 + (time.monotonic() - began) / (LOOK_S / 2)
    time.sleep(LOOK_S)
    n_asked = len(asked)
    page.news()
    assert len(asked) == n_asked + 1


@pytest.mark.skipif(not is_installed(), reason="chromium is not installed")
def test_a_fader_moved_on_the_page_is_heard(page: Page, show: Show) -> None:
    with browser() as b:
        b.open(page.address)
        show.wait(lambda: b.text("#health") == "good", 30)
        assert b.text("#title") == "1. First song"
        assert page.token not in b.run("return location.href")
        # However many songs there are, the list scrolls, not the page.
        fits = b.run(
            "const list = document.getElementById('songs');"
            "for (let i = 0; i < 9; i++)"
            " list.append(list.firstElementChild.cloneNode(true));"
            "return [document.documentElement.scrollWidth, innerWidth,"
            " document.documentElement.scrollHeight, innerHeight]"
        )
        assert fits[0] <= fits[1] == 360 and fits[2] <= fits[3]
        b.click("#play")
        show.wait_state("playing")
        show.wait(lambda: len(show.sound()) > RATE)
        assert np.abs(show.sound()[-2000:]).max() > 0.01
        # By keyboard: one key to the left end, silence.
        b.keys("#instrumental", "\ue011")
        show.wait(lambda: page.console.status()["faders"]["instrumental"] is None)
        time.sleep(0.3)
        assert np.abs(show.sound()[-2000:]).max() == 0
        b.keys("#instrumental", "\ue010\ue012\ue012\ue012\ue012\ue012\ue012")
        show.wait(lambda: page.console.status()["faders"]["instrumental"] == 0)
        time.sleep(0.3)
        assert np.abs(show.sound()[-2000:]).max() > 0.01
        assert b.run("return document.querySelector('[data-edit]').disabled")
        b.keys("#vocals", "\ue012" * 3)
        b.run(
            "const s = document.querySelector('#seek'); s.value = 12;"
            "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change'))"
        )
        show.wait(lambda: show.player.place() > 11.5 * RATE)
        b.click("#loop")
        time.sleep(1.5)
        b.click("#loop")
        show.wait(lambda: show.player.loop is not None)
        show.wait(lambda: b.text("#loop") == "Loop: leave")
        # What a screen reader gets: every control has a name.
        nameless = b.run(
            "return [...document.querySelectorAll('button, input, canvas')].filter("
            "e => !(e.textContent.trim() || e.getAttribute('aria-label') ||"
            " (e.labels && e.labels.length))).length"
        )
        assert nameless == 0
        time.sleep(0.5)
        if folder := os.environ.get("EDGESTEM_SCREENSHOTS"):
            b.screenshot(Path(folder) / "play.png")
        b.click("#stop")
        show.wait_cued()
        b.click("[data-do=next]")
        show.wait(lambda: b.text("#title") == "2. Second song")


@pytest.mark.skipif(not is_installed(), reason="chromium is not installed")
def test_a_phone_finds_a_player_that_is_started_again(
    show: Show, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The page shows the new player's state without a touch."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    console = Console(show.player)
    page = Page(console, show.said.append, port=0, token=kept_token())
    page.start()
    with browser() as b:
        b.open(page.address)
        show.wait(lambda: b.text("#health") == "good", 30)
        page.close()
        show.wait(lambda: b.text("#health") == "no player", 30)
        console.do("next")
        again = Page(console, show.said.append, port=page.port, token=kept_token())
        again.start()
        show.wait(lambda: b.text("#health") == "good", 30)
        show.wait(lambda: b.text("#title") == "2. Second song")
        b.click("#play")
        show.wait_state("playing")
        again.close()


def test_a_token_is_kept_for_an_evening_by_its_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    path = tmp_path / "edgestem/page-token"
    token = kept_token()
    assert token == kept_token() == path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_mtime
    os.utime(path, (before - 11 * 3600,) * 2)
    assert kept_token() == token and path.stat().st_mtime >= before
    os.utime(path, (before - 13 * 3600,) * 2)
    second = kept_token()
    assert second != token
    path.chmod(0o644)  # others may have read it
    third = kept_token()
    assert third != second
    path.write_text("x")  # half written by somebody else
    assert len(kept_token()) == len(third)
    path.unlink()
    path.mkdir()
    assert kept_token() != kept_token()
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert len(kept_token()) == len(third)


@pytest.mark.skipif(not is_installed(), reason="chromium is not installed")
def test_a_song_is_saved_from_the_page(page: Page, show: Show, tmp_path: Path) -> None:
    path = tmp_path / "set.toml"
    names = [item.path.name for item in show.player.items]
    path.write_text("".join(f'[[song]]\nfile = "{name}"\n' for name in names))
    for number, item in enumerate(show.player.items):
        item.number = number
    page.console.set_file = SetFile(path)
    with browser() as b:
        b.open(page.address)
        show.wait(lambda: b.text("#title") == "1. First song", 30)
        assert b.run("return document.querySelector('#save').hidden")
        assert not b.run("return document.querySelectorAll('.up').length")
        page.console.do("unlock")
        show.wait(lambda: b.run("return document.querySelectorAll('.up').length") == 2)
        b.click("li:nth-child(2) .up")
        show.wait(lambda: show.player.index == 1)
        b.click("[data-do='key +1']")
        show.wait(lambda: show.player.item.settings.key == 1)
        b.click("#save")
        show.wait(lambda: "key = 1" in path.read_text())
    files = [item.path.name for item in read_set_list(path).items]
    assert files == [names[1], names[0], names[2]]
