"""The page's files: served from memory, cached well, and with nothing in them from elsewhere."""

from __future__ import annotations

import gzip
import http.client
import re
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from support import ROOT, Reply, free_port, get

import zaidash
from zaidash import App, find_static, load_config, load_static

STATIC = ROOT / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
PATHS = ["/" + path.relative_to(STATIC).as_posix() for path in FILES]

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
    ".json": "application/json; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}

#: Names of XML namespaces, and what React's error messages and a stylesheet's licence refer to,
#: look like addresses, but no browser ever asks for them.
NAMES = ("http://www.w3.org/", "https://react.dev/errors/", "https://tailwindcss.com")


def start_app(directory: Path) -> App:
    config, _ = load_config(
        [],
        {
            "LISTEN_ADDR": "127.0.0.1:0",
            "DB_PATH": str(directory / "zaidash.db"),
            "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/metrics",
        },
    )
    app = App(config)
    app.start()
    return app


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site with the page as it is shipped."""
    app = start_app(tmp_path_factory.mktemp("page"))
    yield f"http://127.0.0.1:{app.server.server_port}"
    app.stop()


#: Files of a page as a bundler leaves it, and what lies around it.
OTHER_PAGE = {
    "index.html": "<!doctype html><title>other</title>",
    "assets/index-B7xk2_Qz.js": "console.log(1);\n" * 100,
    "assets/style-a1B2c3D4.css": "body { margin: 0 }\n" * 100,
    "assets/plain.js": "console.log(2);\n" * 100,
    "assets/tiny.js": "1",
    "assets/empty.css": "",
    "assets/deep/er/file.txt": "deep",
    "assets/with space.txt": "space",
    "notes-B7xk2_Qz.txt": "not among the assets",
}


@pytest.fixture(scope="module")
def other_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with another page: zaidash.py copied beside a static/ of its own."""
    directory = tmp_path_factory.mktemp("other")
    for name, text in OTHER_PAGE.items():
        file = directory / "static" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (directory / "secret.txt").write_text("secret", encoding="utf-8")
    (directory / "static" / "assets" / "link.txt").symlink_to("plain.js")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zaidash, "__file__", str(directory / "zaidash.py"))
        app = start_app(directory)
    (directory / "static" / "late.txt").write_text("came after the start", encoding="utf-8")
    yield f"http://127.0.0.1:{app.server.server_port}"
    app.stop()


# --------------------------------------------------------------------------------------
# Serving
# --------------------------------------------------------------------------------------


def test_there_is_a_page_to_serve() -> None:
    assert "/index.html" in PATHS


@pytest.mark.parametrize("path", PATHS)
def test_file_is_served_as_it_is_and_with_its_type(url: str, path: str) -> None:
    reply = get(url + path)
    assert reply.status == 200
    assert reply.body == (STATIC / path[1:]).read_bytes()
    assert reply.headers["Content-Type"] == TYPES[Path(path).suffix]
    assert reply.headers["Content-Length"] == str(len(reply.body))


def test_root_is_the_index(url: str) -> None:
    root, index = get(url + "/"), get(url + "/index.html")
    assert (root.status, root.body) == (200, index.body)
    assert root.headers.items() == index.headers.items()


def test_query_of_a_page_is_ignored(url: str) -> None:
    assert get(url + "/?range=1h").body == get(url + "/").body


@pytest.mark.parametrize("path", ["/", *PATHS])
def test_gzip_holds_the_same_file(url: str, path: str) -> None:
    plain, packed = get(url + path), get(url + path, {"Accept-Encoding": "gzip"})
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    if packed.headers["Content-Encoding"]:
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body)
    else:
        assert packed.body == plain.body
        assert len(plain.body) < 1_500


def test_script_of_some_size_is_compressed(other_url: str) -> None:
    reply = get(other_url + "/assets/plain.js", {"Accept-Encoding": "gzip"})
    assert reply.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("path", "immutable"),
    [
        ("/", False),
        ("/index.html", False),
        ("/assets/index-B7xk2_Qz.js", True),
        ("/assets/style-a1B2c3D4.css", True),
        ("/assets/plain.js", False),
        ("/notes-B7xk2_Qz.txt", False),
    ],
)
def test_only_a_name_that_changes_with_the_file_is_kept_for_ever(
    other_url: str, path: str, immutable: bool
) -> None:
    caching = get(other_url + path).headers["Cache-Control"]
    assert ("immutable" in caching) == immutable
    assert ("max-age=31536000" in caching) == immutable
    assert ("no-cache" in caching) != immutable


@pytest.mark.parametrize(
    "path", ["/assets/tiny.js", "/assets/empty.css", "/assets/deep/er/file.txt"]
)
def test_small_empty_and_deep_files_are_served(other_url: str, path: str) -> None:
    for headers in ({}, {"Accept-Encoding": "gzip"}):
        reply = get(other_url + path, headers)
        assert (reply.status, reply.body.decode()) == (200, OTHER_PAGE[path[1:]])


@pytest.mark.parametrize(
    "path",
    ["/secret.txt", "/../secret.txt", "/assets/../../secret.txt", "/late.txt", "/static/index.html",
     "/assets", "/assets/", "/assets/deep", "/assets/deep/", "/zaidash.db", "/zaidash.py"],
)  # fmt: skip
def test_nothing_but_the_files_of_the_start_is_served(other_url: str, path: str) -> None:
    parts = urlsplit(other_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 404
        assert b"secret\n" not in response.read()
    finally:
        connection.close()


def leave_it_out(static: Path) -> str:
    return f"there is no page: copy the folder static/ beside zaidash.py; looked={static}"


def make_it_empty(static: Path) -> str:
    static.mkdir()
    return leave_it_out(static)


def break_a_file(static: Path) -> str:
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>", encoding="utf-8")
    # Reading it fails for every user, root included, who may read what is locked away.
    (static / "assets" / "broken.js").symlink_to("/proc/self/mem")
    return "there is no page: [Errno 5] Input/output error; make its files readable"


#: What can be wrong with static/, and what the log says of it.
NO_PAGE: dict[str, Callable[[Path], str]] = {
    "it was not copied": leave_it_out,
    "it is empty": make_it_empty,
    "a file of it cannot be read": break_a_file,
}


@pytest.mark.parametrize("prepare", NO_PAGE.values(), ids=NO_PAGE)
def test_site_without_a_page_says_so_and_keeps_its_interface(
    prepare: Callable[[Path], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = prepare(tmp_path / "static")
    with pytest.MonkeyPatch.context() as patch, caplog.at_level("WARNING", "zaidash"):
        patch.setattr(zaidash, "__file__", str(tmp_path / "zaidash.py"))
        app = start_app(tmp_path)
    try:
        told = [one.getMessage() for one in caplog.records if one.name == "zaidash.http"]
        assert [expected in message for message in told] == [True]
        url = f"http://127.0.0.1:{app.server.server_port}"
        assert get(url + "/").status == 404
        assert get(url + "/healthz").status == 200
    finally:
        app.stop()


def mount(folder: Path, files: Mapping[str, bytes]) -> None:
    """Lay files out as Kubernetes mounts a ConfigMap: links into a hidden folder with a date."""
    for name, body in files.items():
        file = folder / "..2026_11_23_10_00_00.1" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    (folder / "..data").symlink_to("..2026_11_23_10_00_00.1")
    for name in {name.partition("/")[0] for name in files}:
        (folder / name).symlink_to(f"..data/{name}")


def test_page_is_found_where_all_of_it_is_mounted(tmp_path: Path) -> None:
    page = {name: text.encode() for name, text in OTHER_PAGE.items()}
    mount(tmp_path, {"zaidash.py": b"", **{f"static/{n}": body for n, body in page.items()}})
    assert found_beside(tmp_path / "zaidash.py") == page


def test_page_is_found_where_it_is_mounted_beside_zaidash(tmp_path: Path) -> None:
    page = {name: text.encode() for name, text in OTHER_PAGE.items()}
    mount(tmp_path / "static", page)
    (tmp_path / "zaidash.py").touch()
    assert found_beside(tmp_path / "zaidash.py") == page


def test_page_is_found_beside_a_mounted_zaidash(tmp_path: Path) -> None:
    mount(tmp_path, {"zaidash.py": b""})
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_bytes(b"beside the link")
    assert found_beside(tmp_path / "zaidash.py") == {"index.html": b"beside the link"}


def test_page_is_found_through_a_link_to_zaidash(tmp_path: Path) -> None:
    (tmp_path / "zaidash").symlink_to(ROOT / "zaidash.py")
    shipped = {name[1:]: file.read_bytes() for name, file in zip(PATHS, FILES, strict=True)}
    assert found_beside(tmp_path / "zaidash") == shipped


def found_beside(script: Path) -> dict[str, bytes]:
    """What a zaidash serves that is run as `script`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zaidash, "__file__", str(script))
        files = load_static(find_static())
    assert files.pop("/").body == files["/index.html"].body
    return {path[1:]: file.body for path, file in files.items()}


# --------------------------------------------------------------------------------------
# ETag
# --------------------------------------------------------------------------------------


def ask_again(url: str, condition: str) -> Reply:
    return get(url + "/", {"If-None-Match": condition})


def test_tag_names_the_content(url: str, other_url: str) -> None:
    tag = get(url + "/").headers["ETag"]
    assert re.fullmatch(r'(W/)?"[!#-~]+"', tag)
    assert get(url + "/").headers["ETag"] == tag
    assert get(other_url + "/").headers["ETag"] != tag


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '{}, "y"', "*"])
def test_file_the_client_has_is_not_sent_again(url: str, form: str) -> None:
    tag = get(url + "/").headers["ETag"].removeprefix("W/")
    reply = ask_again(url, form.format(tag))
    assert (reply.status, reply.body) == (304, b"")
    assert reply.headers["ETag"].removeprefix("W/") == tag
    assert "no-cache" in reply.headers["Cache-Control"]
    assert "Content-Encoding" not in reply.headers


@pytest.mark.parametrize("condition", ["", '"x"', '"', "W/", "no tag", '"x", "y"'])
def test_file_the_client_does_not_have_is_sent(url: str, condition: str) -> None:
    assert ask_again(url, condition).status == 200


def test_not_modified_keeps_the_connection_in_step(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        tag = get(url + "/").headers["ETag"]
        for headers, status in (({"If-None-Match": tag}, 304), ({}, 200)) * 2:
            connection.request("GET", "/", headers=headers)
            response = connection.getresponse()
            assert response.status == status
            assert bool(response.read()) == (status == 200)
    finally:
        connection.close()


# --------------------------------------------------------------------------------------
# What is in the page
# --------------------------------------------------------------------------------------


class PageReader(HTMLParser):
    """Notes every address of a page, and every script or style that is written into it."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "poster", "srcset"):
                self.addresses.append(value or "")
            if name.startswith("on") or name == "style" or "javascript:" in (value or "").lower():
                self.inline.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside and data.strip():
            self.inline.append(f"{self._inside}: {data.strip()[:80]}")


@pytest.fixture(scope="module")
def page() -> PageReader:
    reader = PageReader()
    reader.feed((STATIC / "index.html").read_text(encoding="utf-8"))
    reader.close()
    return reader


def test_page_has_no_inline_script_or_style_for_the_policy_to_block(page: PageReader) -> None:
    assert page.inline == []


def test_policy_forbids_inline_script_and_other_hosts(url: str) -> None:
    policy = get(url + "/").headers["Content-Security-Policy"]
    directives = {
        words[0]: words[1:] for words in (part.split() for part in policy.split(";")) if words
    }
    assert directives["default-src"] in (["'none'"], ["'self'"])
    assert directives.get("script-src", directives["default-src"]) == ["'self'"]
    allowed = {"'none'", "'self'", "data:", "blob:"}
    style = set(directives.get("style-src", ["'self'"]))
    assert style <= {*allowed, "'unsafe-inline'"}
    for name, sources in directives.items():
        if name not in ("style-src", "style-src-attr", "style-src-elem"):
            assert set(sources) <= allowed, name


def test_every_address_of_the_page_is_relative_and_there(page: PageReader, url: str) -> None:
    """So that the page works under a sub-path behind a reverse proxy."""
    assert page.addresses
    for address in page.addresses:
        parts = urlsplit(address)
        assert not parts.scheme and not parts.netloc and not address.startswith("/"), address
        assert get(urljoin(url + "/", address)).status == 200, address


@pytest.mark.parametrize("path", PATHS)
def test_no_file_names_another_host(path: str) -> None:
    text = (STATIC / path[1:]).read_bytes().decode("utf-8", "replace")
    found = re.findall(
        r"(?:https?:|wss?:)?//[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+[^\s\"'`<>)]*", text
    )
    # "//" also begins a comment in a script: a host has no space in front of it there.
    hosts = [a for a in found if not a.startswith(NAMES)]
    assert hosts == []


@pytest.mark.parametrize("path", [path for path in PATHS if path.endswith((".js", ".css"))])
def test_scripts_and_styles_ask_for_nothing_by_an_absolute_path(path: str) -> None:
    text = (STATIC / path[1:]).read_text(encoding="utf-8")
    quoted = re.findall(r"""["'`(](/(?:api|assets|metrics|healthz|readyz)[^"'`)]*)""", text)
    assert quoted == []
