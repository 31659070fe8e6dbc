"""The catalogue: pages that say what the registry holds, to anybody, in any browser, whatever was published."""

from __future__ import annotations

import dataclasses
import io
import re
import zipfile
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modhub import flow
from modhub.package.folder import INDEX_FILE
from modhub.package.signing import sign
from modhub.spec.digests import sha256
from modhub.spec.index import Index, Release
from modhub.spec.lock import Lock
from modhub.spec.provenance import Metric
from modhub.workspace import Workspace
from modhub_registry.app import hub_routes
from modhub_registry.errors import TooManyRequests
from modhub_registry.pages.card import HTML_LENGTH, card_html
from modhub_registry.pages.compare_page import which_is_better
from modhub_registry.pages.composing import AT_ONCE, WAITING, Bench
from modhub_registry.pages.figures import kept_picture, overlap_picture
from modhub_registry.pages.guide_page import PARTS
from modhub_registry.pages.guide_page import told as told_routes
from modhub_registry.pages.signature import signing_key
from modhub_registry.settings import Limits
from tests.server.collections import package
from tests.server.published import PLACE, SEEDED, Page, collection_files, page, publish, seed_files
from tests.server.service import served

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.server.service import Service

COMPOSE = "/catalog/compose"
CHOSEN = f"class=cat&m={SEEDED}/dog"
COMPARE = "/catalog/compare"
TWO = f"m={SEEDED}/cat&m={SEEDED}/dog"
PAGES = (
    "/",
    PLACE,
    f"{PLACE}/cat",
    f"{PLACE}/cat/1.0.0",
    f"{PLACE}/base",
    "/?q=cat",
    "/alice/none",
    COMPOSE,
    f"{COMPOSE}?{CHOSEN}",
    COMPARE,
    f"{COMPARE}?{TWO}",
    "/catalog/guide",
    "/catalog/api",
)
MOST_BYTES = 100_000
ATTACK = "<script>alert(1)</script>"
LIMITS = Limits(requests_per_minute=0)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A registry with the collection that ships with modhub."""
    with served(tmp_path_factory.mktemp("pages"), limits=LIMITS) as service:
        publish(service, SEEDED, seed_files())
        yield service


@pytest.fixture(scope="module", params=PAGES)
def shown(request: pytest.FixtureRequest, seeded: Service) -> Page:
    """Each page, fetched once."""
    return page(seeded, request.param)


def test_pages_are_small_whole_and_safe(shown: Page) -> None:
    found = shown
    assert found.answer.status == (404 if "Nothing is here" in found.text else 200)
    assert not found.open
    assert len(found.answer.body) < MOST_BYTES
    policy = found.answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # Nothing that the policy would refuse.
    assert not found.all("style")
    assert not [each for _, each in found.elements if "style" in each or any(name.startswith("on") for name in each)]
    assert all(each.get("src", "").startswith("/static/") for each in found.all("script"))
    assert found.answer.headers["x-content-type-options"] == "nosniff"


def test_pages_are_for_every_reader(shown: Page) -> None:
    found = shown
    assert found.all("html") == [{"lang": "en"}]
    assert len(found.all("h1")) == len(found.all("main")) == 1
    assert "width=device-width" in str(found.all("meta"))
    ids = [each["id"] for _, each in found.elements if "id" in each]
    assert len(ids) == len(set(ids))
    labelled = {each["for"] for each in found.all("label") if "for" in each}
    fields = {each["id"] for tag in ("input", "select") for each in found.all(tag) if not is_box(each)}
    assert fields == labelled
    for _, each in found.elements:
        assert set(each.get("aria-labelledby", "").split()) <= set(ids)
    assert all(each.get("aria-label") for each in found.all("svg"))
    assert all("scope" in each for each in found.all("th"))
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels


def is_box(field: Mapping[str, str]) -> bool:
    # A box lies inside its label, and hidden fields have none.
    return field.get("type") in {"checkbox", "hidden"}


def test_every_link_leads_somewhere(seeded: Service) -> None:
    waiting, seen = ["/"], set[str]()
    while waiting:
        path = waiting.pop()
        answer = seeded.call("GET", path)
        assert answer.status == 200, path
        seen.add(path)
        if answer.headers["content-type"].startswith("text/html"):
            for link in Page(answer).links:
                target = urljoin(f"{seeded.url}{path}", link).partition("#")[0]
                # Each of these resolves or measures, which takes most of a second: one of them will do.
                if target.startswith(seeded.url) and ("m=" not in target or "m=" + SEEDED + "/cat" in target):
                    waiting += {target.removeprefix(seeded.url)} - seen - set(waiting)
    assert {f"{PLACE}/cat", f"{PLACE}/cat/1.0.0", f"{PLACE}/resolve/main/cat/1.0.0/delta.safetensors"} <= seen


def test_the_module_page_tells_what_the_manifest_says(seeded: Service) -> None:
    text = page(seeded, f"{PLACE}/cat").text.replace("\u00a0", " ")
    for said in (
        "73.4 % 95 % interval 70.5 to 76.2",
        f"modhub install {SEEDED}/cat==1.0.0 -r {seeded.url}",
        f"modhub compose {SEEDED}/cat {SEEDED}/airplane -r {seeded.url} -o model",
        "cat keeps 68.8 %",
        "conv 19 16 of 64",
        "image RGB NCHW [batch, 3, 32, 32] in 0..1",
        f"{SEEDED}/base ==1.0.0",
        "gradsplitter 1, recipe fast, seed 0, arXiv:2311.04438",
        "efe964f085b22931b442a72006877e30583f207584f4b5190e6b394f92f95a80",
        "cat 1.0.0 Scores the class 'cat'",
    ):
        assert said in text, said
    assert f"{SEEDED}/cat" in page(seeded, f"{PLACE}/base").text


def test_the_collection_page_has_a_row_for_each_module_and_a_cell_for_each_two(seeded: Service) -> None:
    found = page(seeded, PLACE)
    text = found.text.replace("\u00a0", " ")
    assert "automobile 90.1 % 88.0 to 91.8" in text
    assert "Most: truck and automobile, 71.5 %" in text
    cells = "".join(each["d"] for each in found.all("path"))
    assert cells.count("M") == 10 * 9 // 2
    assert "The index as JSON" in text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=cat", {"cat"}),
        ("q=RESNET20+truck", {"truck"}),
        ("class=Frog", {"frog"}),
        ("class=frog&method=gradsplitter&license=BSD-2-Clause", {"frog"}),
        ("method=moda", set()),
        ("license=MIT", set()),
        ("parent=efe964f085b22931b442a72006877e30583f207584f4b5190e6b394f92f95a80&q=cat", {"cat"}),
        ("parent=0", set()),
        ("min_f1=0.9", {"ship"}),
        ("max_size=7485", set()),
        ("max_size=7500&min_f1=0.8", {"airplane", "horse"}),
        ("class=%E7%8C%AB", set()),
    ],
)
def test_facets_choose(seeded: Service, query: str, names: set[str]) -> None:
    found = page(seeded, f"/?{query}")
    assert {link.rpartition("/")[2] for link in found.links if link.startswith(f"{PLACE}/")} == names
    # The form keeps what was asked.
    assert {each.get("value", "") for each in found.all("input")} >= {"Frog"} or "class=Frog" not in query


@pytest.mark.parametrize("query", ["min_f1=x", "min_f1=7", "min_f1=nan", "max_size=-1", "page=x", "q=%00"])
def test_what_cannot_be_asked_is_refused_readably(seeded: Service, query: str) -> None:
    found = page(seeded, f"/?{query}")
    assert found.answer.status == 400
    assert "That cannot be asked" in found.text


def test_two_modules_are_compared(seeded: Service) -> None:
    found = page(seeded, f"{COMPARE}?{TWO}")
    text = found.text.replace("\u00a0", " ")
    for said in (
        "F1 73.4 % (70.5 to 76.2) 79.0 % (76.3 to 81.5)",
        "They score different classes",
        "They take the same input, so they fit into one model",
        "They come from the same parent",
        "64.5 % are kept by both",
        "conv 17 32 40 64",
    ):
        assert said in text, said
    assert f"{COMPOSE}?{TWO}" in found.links
    assert "conv" not in page(seeded, f"{COMPARE}?m={SEEDED}/cat&m={SEEDED}/base").text


@pytest.mark.parametrize(
    ("query", "status"),
    [("m=x", 400), ("&".join(f"m={SEEDED}/{name}" for name in ("cat", "dog", "ship")), 400), (f"m={SEEDED}/none", 404)],
)
def test_what_cannot_be_compared_is_refused(seeded: Service, query: str, status: int) -> None:
    assert page(seeded, f"{COMPARE}?{query}").answer.status == status


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ((0.90, 0.88, 0.92), (0.80, 0.78, 0.82), "a 1.0.0 is better: its F1 is at least 88.0 %"),
        ((0.80, 0.78, 0.82), (0.90, 0.88, 0.92), "b 1.0.0 is better"),
        ((0.81, 0.79, 0.83), (0.80, 0.78, 0.82), "neither is measurably better"),
        ((0.81, None, None), (0.80, None, None), "which is better is not known"),
    ],
)
def test_which_module_is_better_is_said_only_where_it_is_known(
    first: tuple[float, ...], second: tuple[float, ...], said: str
) -> None:
    cat = package("cat")
    entry = Release.of(cat.manifest, cat.read("module.json"))
    sides = [
        dataclasses.replace(entry, name=name, metrics={"f1": Metric(value=value, low=low, high=high)})
        for name, (value, low, high) in (("a", first), ("b", second))
    ]
    assert said in which_is_better(*sides).replace("\u00a0", " ")


def test_a_signature_is_shown_and_not_vouched_for(seeded: Service, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    cat = package("cat")
    text = sign(cat.read("module.json"), package="frank/signed/cat", version="1.0.0", key=tmp_path / "key.pem")
    digest = sha256(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    publish(seeded, "frank/signed", collection_files([package("base"), cat], signatures={"cat": text}))
    assert digest in page(seeded, "/frank/signed/cat").text
    assert "does not check it" in page(seeded, "/frank/signed/cat").text
    assert "signed no" in page(seeded, "/frank/signed/base").text


@pytest.mark.parametrize(
    "signature", [7, "", "{}", "[" * 9000, '{"verificationMaterial": {"publicKey": {"hint": "x"}}}']
)
def test_an_unreadable_signature_is_said_to_be_one(signature: object) -> None:
    cat = package("cat")
    entry = Release.of(cat.manifest, cat.read("module.json"))
    assert signing_key(entry) is None
    assert signing_key(dataclasses.replace(entry, extra={"signature": signature})) == ""  # type: ignore[dict-item]


def test_the_guide_names_this_registry_and_the_page_on_the_api_every_route(seeded: Service) -> None:
    guide = page(seeded, "/catalog/guide").text
    assert f"modhub compose {SEEDED}/airplane {SEEDED}/automobile -r {seeded.url} -o model" in guide
    found = page(seeded, "/catalog/api")
    for said in ("GET /api/{kind}/{owner}/{name}/tree/{rev}", "POST /_upload/{permit}", "StaleParent 412", "16 MiB"):
        assert said in found.text, said
    told = {route.path for part in PARTS for route in told_routes(part)}
    for route in hub_routes():
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)  # type: ignore[attr-defined]
        assert {path, path.removeprefix("/{kind}"), f"/{{kind}}{path}"} & told, path
    assert all(route.does for part in PARTS for route in told_routes(part))


def test_a_composite_is_a_module_like_others(seeded: Service, tmp_path: Path) -> None:
    workspace = Workspace.open([seeded.url], store=tmp_path)
    parts, lock = flow.gather([f"{SEEDED}/cat", f"{SEEDED}/dog"], workspace=workspace)
    composite = flow.compose(parts, name="pets", lock=lock).package
    publish(seeded, "grace/pets", collection_files([composite]))
    found = page(seeded, "/grace/pets/pets")
    assert "/catalog/try?m=grace/pets/pets" in found.links
    assert "45.3 million" in found.text
    assert "They fit together" in page(seeded, f"{COMPOSE}?m=grace/pets/pets").text


def test_an_unchanged_page_is_not_sent_again(seeded: Service) -> None:
    first = seeded.call("GET", PLACE)
    again = seeded.call("GET", PLACE, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert first.headers["cache-control"] == "private, no-cache"
    assert first.headers["vary"] == "Authorization"
    style = next(link for link in Page(first).links if link.endswith(".css"))
    assert "immutable" in seeded.call("GET", style).headers["cache-control"]
    assert seeded.call("GET", "/static/nothing.css").status == 404
    assert seeded.call("HEAD", PLACE).body == b""


def test_a_private_collection_is_shown_to_its_owner_alone(seeded: Service) -> None:
    publish(seeded, "carol/secret", seed_files(), private=True)
    for path in ("/carol/secret", "/carol/secret/cat"):
        assert page(seeded, path).answer.status == 404
        assert page(seeded, path, user="bob").answer.status == 404
        assert page(seeded, path, user="carol").answer.status == 200
    assert "carol" not in page(seeded, "/").text
    assert "carol" not in page(seeded, f"{PLACE}/base").text
    assert "carol/secret" in page(seeded, "/", user="carol").text


def test_a_private_registry_asks_for_a_token(tmp_path: Path) -> None:
    with served(tmp_path, private=True) as service:
        found = page(service, "/")
        assert (found.answer.status, found.answer.headers["x-error-code"]) == (401, "Unauthorized")
        assert page(service, "/", user="alice").answer.status == 200


def test_texts_of_strangers_stay_texts(seeded: Service) -> None:
    files = hostile_files()
    publish(seeded, "mallory/evil", files)
    for path in ("/", "/mallory/evil", "/mallory/evil/cat", f"/?q={ATTACK}&class={ATTACK}&method={ATTACK}"):
        found = page(seeded, path.replace("<", "%3C").replace(">", "%3E"))
        assert found.answer.status == 200
        assert not found.open
        assert len(found.answer.body) < MOST_BYTES
        assert [each for each in found.all("script") if not each["src"].startswith("/static/")] == []
        assert not {tag for tag, _ in found.elements} & {"iframe", "object", "embed", "base", "style", "frame"}
        assert not [link for link in found.links if link.lower().startswith(("javascript:", "data:", "//"))]
        assert "\u202e" not in found.answer.body.decode()
    assert ATTACK in page(seeded, "/mallory/evil").text


def hostile_files() -> dict[str, bytes]:
    """Return a collection by somebody who means harm, with words of theirs wherever words go."""
    base, cat = package("base"), package("cat")
    bad = dataclasses.replace(
        cat.manifest,
        summary=f"{ATTACK}\"'onload='alert(1)",
        homepage="javascript:alert(1)",
        authors=(ATTACK, "long " * 800),
    )
    files = {**cat.contents(), "module.json": bad.to_json()}
    releases = [
        Release.of(base.manifest, base.read("module.json")),
        dataclasses.replace(Release.of(bad, files["module.json"]), deprecated=f"{ATTACK} use another"),
    ]
    card = (
        f"---\nlibrary_name: modhub\ntags: [modhub]\n---\n# {ATTACK}\n[x](javascript:alert(1)) ![y](http://x/y.png)\n"
    )
    card += '<iframe src="//evil"></iframe> <img src=x onerror="alert(1)">\u202e\n' + "|" * 30_000
    index = dataclasses.replace(
        Index().adding(releases, previous=sha256(Index().to_json())), summary=ATTACK + "x" * 4_000
    )
    found = {INDEX_FILE: index.to_json(), "README.md": card.encode()}
    for name, own in (("base", base.contents()), ("cat", files)):
        found |= {f"{name}/1.0.0/{path}": data for path, data in own.items()}
    return found


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "<a href='javascript:alert(1)'>x</a>",
        "[a](data:text/html,<script>alert(1)</script>)",
        "![a](https://example.org/a.png)",
        "<svg onload=alert(1)>",
        "[a](//example.org) [b](/static/x) [c](../../x)",
        "[a]: javascript:alert(1)\n[a]",
        "> " * 500 + "deep",
        "[" * 5000,
        "|a|b|\n|-|-|\n" + "|x|y|\n" * 5000,
    ],
)
def test_a_card_can_do_nothing_but_be_read(text: str) -> None:
    html, _ = card_html(text.encode())
    assert len(html) <= HTML_LENGTH
    assert not re.search(r"<(script|img|svg|iframe|style)|<[^>]*\son\w+=|href=\"(?!https?://|mailto:)", html)


def test_a_card_keeps_what_reads_well() -> None:
    html, is_all = card_html(b"---\nlicense: mit\n---\n# Title\n\n**bold** [link](https://example.org)\n\n- one\n")
    assert is_all
    for part in ("<h3>Title</h3>", "<strong>bold</strong>", 'href="https://example.org"', "noopener", "<li>one</li>"):
        assert part in html


def test_a_repository_that_is_no_collection_has_a_page(seeded: Service) -> None:
    publish(seeded, "alice/plain", {"README.md": b"# Just a model"})
    assert "It holds no class modules" in page(seeded, "/alice/plain").text
    assert page(seeded, "/alice/plain/cat").answer.status == 404


def test_long_lists_come_in_parts(seeded: Service) -> None:
    for number in range(2):
        publish(seeded, f"dora/copy{number}", seed_files())
    first = page(seeded, "/?q=dora+scores")
    assert "Next" not in first.text
    first = page(seeded, "/?method=gradsplitter")
    assert "Page 1 of 2" in first.text
    second = page(seeded, "/?method=gradsplitter&page=2")
    assert "Page 2 of 2" in second.text
    assert page(seeded, "/?method=gradsplitter&page=99").text == second.text


def test_pictures_of_many_layers_and_modules_stay_small() -> None:
    site = {"name": "conv 1", "site": "s", "kind": "kernels", "channels": 64, "weights": 9, "layers": ["w"] * 9}
    sites = [{**site, "state": "masked", "pinned": None} for _ in range(500)]
    module = {"class": "a", "kernels_kept": 0.5, "channels": [32] * 500, "weights": [4] * 500}
    kept = kept_picture({"kept": {"measure": "kernels", "sites": sites, "modules": [module]}}, name="a")
    assert kept.left_out == 380
    names = [f"module-{i}" for i in range(48)]
    values = [[1.0 if i == j else (i * j % 97) / 97 for j in names_range(names)] for i in names_range(names)]
    overlap = overlap_picture({"overlap": {"jaccard": values}}, names=names)
    assert overlap is not None
    assert len(kept.svg) + sum(map(len, map(str, kept.rows))) < 70_000
    assert len(overlap.svg) < 50_000


def names_range(names: list[str]) -> range:
    return range(len(names))


def test_what_is_chosen_is_resolved_and_told(seeded: Service) -> None:
    found = page(seeded, f"{COMPOSE}?{CHOSEN}")
    text = found.text.replace("\u00a0", " ")
    for said in (
        "They fit together",
        "in this order: cat, dog",
        "1.1 MB",
        "832.3 kB to 1.6 MB",
        "36.7 million to 73.1 million",
        "BSD-2-Clause",
    ):
        assert said in text, said
    assert f"modhub compose class:cat {SEEDED}/dog -r {seeded.url} -o model" in text
    checked = {each["value"] for each in found.all("input") if "checked" in each}
    assert checked == {"cat", f"{SEEDED}/dog"}


def test_a_conflict_is_told_in_sentences(seeded: Service) -> None:
    found = page(seeded, f"{COMPOSE}?class=cat&class=zebra")
    assert found.answer.status == 200
    assert "They do not fit together" in found.text
    assert "nothing provides class:zebra" in found.text


@pytest.mark.parametrize(
    "query", ["m=--debug", "m=cat", "m=../x/y", "class=%2D", "&".join(f"class=c{i}" for i in range(33))]
)
def test_what_cannot_be_chosen_is_refused(seeded: Service, query: str) -> None:
    assert page(seeded, f"{COMPOSE}?{query}").answer.status == 400
    assert seeded.call("GET", f"{COMPOSE}.zip?{query}").status == 400


def test_the_composed_model_runs_and_its_lock_names_the_address_that_was_asked(seeded: Service, tmp_path: Path) -> None:
    answer = seeded.call("GET", f"{COMPOSE}.zip?{CHOSEN}", headers={"Host": "models.example.org"})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        archive.extractall(tmp_path)
    (package_found,) = flow.check(tmp_path / "model")
    lock = Lock.from_toml(package_found.read("modhub.lock").decode())
    assert {module.registry for module in lock.modules} == {"http://models.example.org"}
    model = flow.load(tmp_path / "model")
    assert model.columns == ("cat", "dog")


def test_only_what_the_caller_may_read_is_composed(seeded: Service) -> None:
    publish(seeded, "erin/hidden", seed_files(), private=True)
    wanted = f"{COMPOSE}?m=erin/hidden/cat"
    assert "They do not fit together" in page(seeded, wanted).text
    assert "They fit together" in page(seeded, wanted, user="erin").text
    assert seeded.call("GET", wanted.replace("?", ".zip?")).status == 400
    assert "erin" not in page(seeded, COMPOSE).text


def test_few_compose_at_a_time() -> None:
    bench = Bench()
    with ExitStack() as turns:
        for _ in range(AT_ONCE + WAITING):
            bench._queue.acquire()
        with pytest.raises(TooManyRequests, match="try again"):
            turns.enter_context(bench._turn())


def test_the_page_to_try_a_model_says_how_to_switch_it_on(seeded: Service) -> None:
    found = page(seeded, "/catalog/try?class=cat")
    assert "npm pack onnxruntime-web" in found.text
    assert not [each for each in found.all("script") if "try" in each["src"]]
    for name in ("ort.wasm.min.mjs", "other.js", "..%2F..%2Fpages.py"):
        assert seeded.call("GET", f"/static/runtime/{name}").status == 404
