"""No verb runs, unpickles, opens or connects to anything but what is on the list in `watching`."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import click
import pytest

from modhub import flow
from modhub.cli.main import COMMANDS, find_command
from modhub.errors import HubError
from modhub.hub.client import Client
from modhub.hub.huggingface import HuggingFaceBackend
from modhub.hub.store import Store
from modhub.spec.names import CollectionId
from modhub_registry.auth import tokens
from modhub_registry.settings import Settings
from modhub_registry.storage.registry import open_registry
from tests.hub.packages import module
from tests.hub.served import served
from tests.security.test_signatures import write_key
from tests.security.watching import (
    DRIVER,
    INSTALLATION,
    LEARNING,
    ROOT,
    SERVING,
    SIGNING,
    SYSTEM_FILES,
    TALKING,
    More,
    Seen,
    environment,
    hostile_folders,
    objections,
    watched,
    watched_program,
    watched_server,
)
from tests.support.corpus import samples
from tests.support.pets import pets_packages, publish_pets, write_pets_data
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: the events travel through a named pipe")

STRACE = shutil.which("strace") or ""
needs_strace = pytest.mark.skipif(not STRACE, reason="NOT TESTED: what libraries in C++ open is only seen by strace")

Verbs: TypeAlias = "Sequence[tuple[object, ...]]"
"""Commands, word by word."""

SEED: Verbs = (
    ("search", "cat"),
    ("resolve", "modhub/resnet20-cifar10/cat"),
    ("install", "modhub/resnet20-cifar10/cat", "class:dog"),
    ("compose", "modhub.lock", "-o", "out"),
    ("run", "out", "sample:cifar10-test"),
    ("check", "out"),
    ("evaluate", "out", "--data", "sample:cifar10-test"),
)

FORBIDDEN = {
    "a pickle that is read": ("import pickle, io; pickle.loads(b'cos\\nsystem\\n.')", "pickle.find_class"),
    "text that is run": ("eval('1 + 1')", "exec"),
    "a file of somebody else": ("open('/etc/passwd')", "open"),
    "a file written elsewhere": ("open('/tmp/modhub-was-here', 'ab').close()", "open"),
    "another program": ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    "a shell": ("import os; os.system('true')", "os.system"),
    "a socket": ("import socket; socket.socket()", "socket.__new__"),
    "a name that is looked up": ("import socket; socket.getaddrinfo('127.0.0.1', 9)", "socket.getaddrinfo"),
    "a library": ("import ctypes; ctypes.CDLL('libc.so.6')", "ctypes.dlopen"),
}


def pets_verbs(folder: Path) -> Verbs:
    """Return what is done to a collection in a folder and on a registry, made there."""
    flow.write_collection(pets_packages(forms=("delta", "standalone")), folder / "pets")
    registry, data = publish_pets(folder / "registry", "1.0.0"), write_pets_data(folder / "pets.npz")
    base, cat = (folder / "pets" / name / "1.0.0" for name in ("base", "cat"))
    return (
        ("search", "-r", registry, "cat"),
        ("info", "-r", registry, "acme/pets"),
        ("resolve", "-r", registry, "acme/pets/cat"),
        ("install", "-r", registry, "acme/pets/cat", "class:dog"),
        ("audit",),
        ("compose", folder / "pets", "-o", "out"),
        ("run", "out", data),
        ("check", folder / "pets"),
        ("evaluate", "out", "--data", data),
        ("patch", base, "--class", "cat", "--with", cat, "--data", data, "-o", "patched"),
        ("export", cat, "--to", "onnx", "-o", "cat.onnx"),
    )


def keeping_verbs(folder: Path) -> Verbs:
    """Return what is done to registries and the store."""
    flow.write_collection(pets_packages(), folder / "pets")
    return (
        ("publish", folder / "pets", "--to", "./new", "--name", "acme/pets"),
        ("yank", "-r", "./new", "acme/pets/cat==1.0.0", "--reason", "wrong"),
        ("unyank", "-r", "./new", "acme/pets/cat==1.0.0"),
        ("deprecate", "-r", "./new", "acme/pets/cat==1.0.0", "--reason", "old"),
        ("registry", "add", "mine", "./new"),
        ("registry", "list"),
        ("registry", "mirror", "mine", "./mirror"),
        ("registry", "remove", "mine"),
        ("bundle", "-r", "./new", "acme/pets", "-o", "pets.bundle"),
        ("import", "pets.bundle", "--to", "./imported"),
        ("cache", "ls"),
        ("cache", "verify"),
        ("cache", "prune", "--all"),
    )


def signing_verbs(folder: Path) -> Verbs:
    """Return every verb that signs or checks signatures, on a collection made there."""
    key = write_key(folder, "acme")
    flow.write_collection(pets_packages(), folder / "pets")
    public, name = ("--trust", f"acme={key.with_suffix('.pub')}"), ("--name", "acme/pets")
    return (
        ("sign", folder / "pets", "--key", key, *name),
        ("verify", folder / "pets", *public, *name),
        ("publish", folder / "pets", "--to", "./new", *name),
        ("install", "-r", "./new", "acme/pets/cat", "--require-signature", *public),
        ("registry", "sign-index", "./new", "--keys", "keys", "-o", "metadata"),
    )


def learning_verbs(folder: Path) -> Verbs:
    """Return the verbs that learn and draw."""
    flow.write_collection(pets_packages(), folder / "pets")
    base, data = folder / "pets" / "base" / "1.0.0", ("--data", write_pets_data(folder / "pets.npz"))
    return (
        ("train", base, *data, "--objective", "plain", "--epochs", "1", "-o", "trained"),
        ("decompose", base, *data, "--method", "saliency", "-o", "split"),
        ("plot", "split", "-o", "split.png"),
        ("plot", "split", "-o", "split.html"),
    )


def talking_verbs(folder: Path, url: str, token: str) -> Verbs:
    """Return the verbs that talk to a server."""
    flow.write_collection(pets_packages(), folder / "pets")
    return (
        ("login", url, "--token", token),
        ("whoami", url),
        ("publish", folder / "pets", "--to", url, "--name", "acme/pets"),
        ("search", "-r", url, "cat"),
        ("info", "-r", url, "acme/pets/cat"),
        ("install", "-r", url, "acme/pets/cat"),
        ("audit",),
        ("compose", "-r", url, "acme/pets/dog", "-o", "out"),
        ("yank", "-r", url, "acme/pets/cat==1.0.0", "--reason", "wrong"),
        ("registry", "mirror", url, "./mirror"),
        ("logout", url),
    )


def token_verbs(root: Path, token: str) -> Verbs:
    """Return what is done to the tokens of a server in a folder."""
    of = ("--root", root)
    return (
        ("registry", "token", "create", *of, "--user", "bob", "--scope", "read"),
        ("registry", "token", "ls", *of),
        ("registry", "token", "revoke", token, *of),
    )


SERVE = ("serve", "served")
NOT_WATCHED = {("demo",): "it takes minutes, and is decompose, publish, install, compose, run and plot in turn"}


def test_no_verb_leaves_its_list_on_the_seed(tmp_path: Path) -> None:
    check(watched(*SEED, folder=tmp_path), tmp_path)


def test_no_verb_leaves_its_list_on_a_collection_of_somebody(tmp_path: Path) -> None:
    check(watched(*pets_verbs(tmp_path), folder=tmp_path), tmp_path)


def test_no_verb_that_keeps_a_registry_leaves_its_list(tmp_path: Path) -> None:
    check(watched(*keeping_verbs(tmp_path), folder=tmp_path), tmp_path)


def test_no_verb_that_signs_leaves_its_list(tmp_path: Path) -> None:
    check(watched(*signing_verbs(tmp_path), folder=tmp_path), tmp_path, SIGNING)


def test_no_verb_that_learns_leaves_its_list(tmp_path: Path) -> None:
    check(watched(*learning_verbs(tmp_path), folder=tmp_path), tmp_path, LEARNING)


def test_no_verb_talks_to_anybody_but_the_server_that_it_was_told(tmp_path: Path) -> None:
    with served(tmp_path / "elsewhere", checks="full") as running:
        verbs = talking_verbs(tmp_path, running.url, running.token)
        check(watched(*verbs, folder=tmp_path), tmp_path, TALKING | at(running.url))


def test_a_server_leaves_no_list_while_strangers_upload(tmp_path: Path) -> None:
    root, port = tmp_path / "work" / "served", free_port()
    token, _ = make_token(root)
    url, enough = f"http://127.0.0.1:{port}", tmp_path / "work" / "enough"
    with ThreadPoolExecutor(1) as threads:
        serving = threads.submit(watched_server, *SERVE, "--port", port, folder=tmp_path)
        try:
            backend = HuggingFaceBackend.of_server(url).with_token(token)
            wait_for(port)
            client = Client({"it": backend}, store=Store(tmp_path / "store"))
            client.publish(CollectionId("acme", "pets"), pets_packages())
            with pytest.raises(HubError, match="the collection would be invalid"):
                client.publish(CollectionId("acme", "hostile"), [module()])
            for page in ("/", "/acme/pets", "/acme/pets/cat", "/healthz"):
                with urllib.request.urlopen(url + page, timeout=30) as answer:  # noqa: S310  It is our own.
                    assert answer.status == 200
        finally:
            enough.touch()
        seen = serving.result(60)
    check(seen, tmp_path, SERVING | at(url))


def test_no_verb_that_makes_tokens_leaves_its_list(tmp_path: Path) -> None:
    root = tmp_path / "served"
    _, number = make_token(root)
    check(watched(*token_verbs(root, number), folder=tmp_path), tmp_path, SERVING)


def make_token(root: Path) -> tuple[str, str]:
    """Return a token that may write to a registry in a folder, and the token's number."""
    with closing(open_registry(Settings(root=root))) as registry, registry.database.writing() as connection:
        text, token = tokens.create(connection, user="acme", scope="write")
        return text, token.id


def check(seen: Seen, folder: Path, more: More | None = None) -> None:
    """Check that commands did what they are for, and nothing that is not on their list."""
    assert set(seen.codes) == {0}, seen.talk
    assert objections(seen, folder=folder, more=more) == []


def at(url: str) -> More:
    """Return what may be done to talk to a server, or to be it."""
    parts = urlsplit(url)
    return More(addresses=((parts.hostname or "", parts.port or 0),))


def wait_for(port: int) -> None:
    """Wait until somebody listens at a port."""
    for _ in range(600):
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    pytest.fail("the server did not start")


def leaves(command: click.Command | None, name: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the names of all commands below one."""
    if not isinstance(command, click.Group):
        yield name
        return
    context = click.Context(command)
    for each in command.list_commands(context):
        yield from leaves(command.get_command(context, each), (*name, each))


def test_every_verb_is_watched_or_said_not_to_be(tmp_path: Path) -> None:
    groups = [
        SEED,
        (SERVE,),
        token_verbs(tmp_path, "1"),
        talking_verbs(tmp_path / "talking", "http://127.0.0.1:9", "t"),
    ]
    groups += [verbs(tmp_path / verbs.__name__) for verbs in (pets_verbs, keeping_verbs, learning_verbs)]
    (tmp_path / "signing").mkdir()
    groups.append(signing_verbs(tmp_path / "signing"))
    words = [tuple(map(str, command)) for group in groups for command in group]
    every = {leaf for name in COMMANDS for leaf in leaves(find_command(name), (name,))}
    unseen = {leaf for leaf in every if not any(command[: len(leaf)] == leaf for command in words)}
    assert unseen == set(NOT_WATCHED)


def test_looking_into_hostile_packages_leaves_no_list(tmp_path: Path) -> None:
    folders = list(hostile_folders(tmp_path / "hostile", samples()[::25]))
    assert len(folders) >= 5
    seen = watched(*(("check", folder) for folder in folders), folder=tmp_path)
    assert set(seen.codes) == {1}, seen.talk
    assert objections(seen, folder=tmp_path) == []


@pytest.mark.parametrize(("program", "kind"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_watcher_would_notice(program: str, kind: str, tmp_path: Path) -> None:
    seen = watched_program(["-P", "-c", f"import modhub.errors\n{program}"], folder=tmp_path)
    allowed = Seen(tuple(event for event in seen.events if event.kind != "cpython.run_command"), (), "")
    assert any(line.startswith(f"{kind} ") for line in objections(allowed, folder=tmp_path)), seen.talk


@needs_strace
def test_libraries_in_other_languages_open_and_start_nothing_else_either(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    log = tmp_path / "calls"
    calls = "trace=execve,connect,bind,openat,open,creat,symlink,symlinkat"
    words = '[["compose", "modhub/resnet20-cifar10/cat", "-o", "out"], ["run", "out", "sample:cifar10-test"]]'
    done = subprocess.run(
        [STRACE, "-f", "-qq", "-e", calls, "-o", log, sys.executable, "-P", "-c", DRIVER, words],
        cwd=tmp_path / "work",
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("NOT TESTED: strace may not look at processes here")
    assert "CODES [0, 0]" in done.stdout, done.stderr
    lines = log.read_text().splitlines()
    assert len(lines) > 100
    started = [line for line in lines if "execve(" in line]
    # The driver, and for each verb at most the worker that looks into packages.
    assert all("modhub.package.worker" in line for line in started[1:])
    assert len(started) <= 3
    assert not [line for line in lines if re.search(r"\b(connect|bind|symlink|symlinkat)\(", line)]
    assert not [line for line in lines if is_elsewhere(line, tmp_path)]
    assert not [line for line in lines if "Microsoft" in line or "deviceid" in line]


def is_elsewhere(line: str, folder: Path) -> bool:
    """Tell whether a call opened a file outside of a folder, other than one of the system to read it."""
    found = re.search(r'open(?:at)?\((?:AT_FDCWD, )?"([^"]*)", (\S+?)[,)].* = \d+', line)
    if found is None:
        return False
    path, written = os.path.normpath(folder / "work" / found[1]), re.search("O_WRONLY|O_RDWR|O_CREAT", found[2])
    places = (str(folder), "/dev/null")
    readable = (*INSTALLATION, *SYSTEM_FILES, *LINKER, str(ROOT))
    return not path.startswith(places if written else (*places, *readable))


LINKER = ("/etc/ld.so.cache", "/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/proc/", "/sys/", "/usr/share/locale")
"""What the dynamic linker, the C library and the interpreter read before modhub begins."""
