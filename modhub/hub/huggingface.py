"""The Hugging Face Hub as a registry, and every server that speaks its protocol.

A collection is a model repository. A publish is one commit with the parent it was made from: never half there, and of
two on one parent only one succeeds. After a failure that leaves open whether a commit went through, the repository is
read again and tells.

The Hub's client uploads and lists. Files are read here (see `hub_reader`): the store of modhub is the only cache, and
knows endpoints apart. The client is imported when it is first needed.
"""

from __future__ import annotations

import dataclasses
import io
import logging
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from modhub._version import __version__
from modhub.errors import AccessDenied, CommitConflict, HubError, IntegrityError, InvalidName, NotFound, UsageError
from modhub.fsops import LARGE_BYTES, LocalFile, bytes_of
from modhub.hub.backend import INDEX_FILE
from modhub.hub.hub_errors import CONFLICT, hub_error, is_of_client, is_transient, status_of, translated
from modhub.hub.hub_reader import PAUSES_S, ask, commit_of, pause, retried, stream_file
from modhub.hub.tokens import token_of
from modhub.spec import limits
from modhub.spec.names import CollectionId, check_hub_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from huggingface_hub import CommitOperationAdd, HfApi

    from modhub.fsops import Content

SCHEME = "hf://"
HUB = "https://huggingface.co"
TAG = "modhub"
MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
NEXT_PAGE = re.compile(r'<([^<>]+)>\s*;\s*rel="?next"?')
PAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class HuggingFaceBackend:
    """The repositories of one endpoint that hold collections; those of one owner, or a single one, where said so.

    Args:
        name: how locks call it.
        endpoint: the address of the server.
        owner: the only owner whose collections it shows.
        collection: the only collection of that owner.
        named: whether a person named it, so that ``MODHUB_TOKEN`` is meant for it.
        private: whether a collection that is made here is shown to nobody else.
        given_token: a token to send instead of the one that is kept.
    """

    name: str
    endpoint: str
    owner: str | None = None
    collection: str | None = None
    named: bool = True
    private: bool = False
    given_token: str | None = field(default=None, repr=False)

    remote = True
    append_only = True

    @classmethod
    def of_hub(cls, text: str) -> HuggingFaceBackend:
        """Return the registry that ``hf://``, ``hf://owner`` or ``hf://owner/collection`` names.

        The endpoint is the one of the Hub's own client: ``HF_ENDPOINT``, or the public Hub.

        Raises:
            UsageError: the text is none of them.
        """
        from huggingface_hub import constants

        parts = text[len(SCHEME) :].removesuffix("/").split("/")
        owner, collection = [*(part or None for part in parts), None][:2]
        if not text.lower().startswith(SCHEME) or len(parts) > 2 or (len(parts) > 1 and not all(parts)):
            raise UsageError(f"{text!r} is no registry: expected hf://OWNER or hf://OWNER/COLLECTION")
        try:
            for part, what in ((owner, "owner"), (collection, "collection name")):
                if part is not None:
                    check_hub_name(part, what=what)
        except InvalidName as error:
            raise UsageError(f"{text!r} is no registry: {error}") from error
        name = SCHEME + "/".join(part for part in (owner, collection) if part)
        return cls(name=name, endpoint=constants.ENDPOINT.rstrip("/"), owner=owner, collection=collection)

    @classmethod
    def of_server(cls, text: str) -> HuggingFaceBackend:
        """Return the registry at ``http://host:port`` or ``https://host``.

        Raises:
            UsageError: it holds more than an address, such as a password.
        """
        address = urlsplit(text)
        try:
            is_plain = bool(address.hostname) and (address.port or 1) > 0
        except ValueError:
            is_plain = False
        if not is_plain or address.query or address.fragment or "@" in address.netloc:
            raise UsageError(f"{text!r} is no address of a registry; expected one like https://modules.example.org")
        endpoint = f"{address.scheme.lower()}://{address.netloc.lower()}{address.path.rstrip('/')}"
        return cls(name=endpoint, endpoint=endpoint)

    def asked(self, *, named: bool, private: bool = False) -> HuggingFaceBackend:
        """Return the same registry as somebody asks for it."""
        return dataclasses.replace(self, named=named, private=private)

    def with_token(self, token: str) -> HuggingFaceBackend:
        """Return the same registry, asked with another token."""
        return dataclasses.replace(self, given_token=token)

    @property
    def place(self) -> str:
        """Its name, and the endpoint where that is a mirror of the Hub."""
        return self.name if self.endpoint in (HUB, self.name) else f"{self.name} at {self.endpoint}"

    @property
    def token(self) -> str | None:
        """The token that is sent to it."""
        return self.given_token or token_of(self.endpoint, named=self.named)

    @property
    def api(self) -> HfApi:
        """The Hub's client for this endpoint, with our token or with none."""
        from huggingface_hub import HfApi, constants

        # Otherwise it asks the public Hub, whatever the endpoint, for the names of agents to tell the server about.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        return HfApi(endpoint=self.endpoint, token=self.token or False, library_name="modhub")

    def whoami(self) -> str:
        """Return the name of the account whose token is used.

        Raises:
            AccessDenied: there is no token, or a wrong one.
            HubError: the registry cannot be reached.
        """
        if self.token is None:
            raise AccessDenied(f"there is no token for {self.name}")
        with self._translated("who you are"):
            _, answer = ask(f"{self.endpoint}/api/whoami-v2", self._headers())
        return str(answer.get("name", "")) if isinstance(answer, dict) else ""

    def head(self, collection: CollectionId) -> str | None:
        """Return the commit of the main branch, or None where there is no index.

        Raises:
            AccessDenied: the repository is gated, or the token is wrong.
            HubError: the registry cannot be read.
        """
        from huggingface_hub import errors

        absent = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError)
        if not self._holds(collection):
            return None
        url = self._url(collection, INDEX_FILE, MAIN)
        with self._translated(str(collection)):
            try:
                commit = commit_of(url, self._headers())
            except errors.GatedRepoError:
                raise
            except absent:
                return None
        if commit is None or not COMMIT.fullmatch(commit):
            raise HubError(f"{self.name} does not speak the protocol of the Hub: it names no commit of {collection}")
        return commit

    def read(self, collection: CollectionId, path: str, *, revision: str | None, limit: int) -> bytes:
        """Return a file as it was at a commit.

        Raises:
            NotFound: there is no such repository, commit or file.
            IntegrityError: the file is larger than `limit`.
            AccessDenied: it is not for us.
            HubError: the registry cannot be read.
        """
        return b"".join(self.stream(collection, path, revision=revision, limit=limit))

    def stream(
        self, collection: CollectionId, path: str, *, revision: str | None, limit: int, start: int = 0
    ) -> Iterator[bytes]:
        """Yield a file as it was at a commit from a position on; a cut connection goes on where it stopped."""
        if not self._holds(collection) or (revision is not None and not COMMIT.fullmatch(revision)):
            raise NotFound(f"{self.name} has no collection {collection} at commit {revision}")
        yield from stream_file(
            self._url(collection, path, revision or MAIN),
            self._headers(),
            what=f"{path} of {collection}",
            registry=self.name,
            limit=limit,
            start=start,
        )

    def collections(self, *, tags: Iterable[str] = ()) -> Iterator[CollectionId]:
        """Yield the repositories whose card has our tag and these.

        Raises:
            HubError: the registry cannot be read.
        """
        if self.owner and self.collection:
            only = CollectionId(self.owner, self.collection)
            if self.head(only) is not None:
                yield only
            return
        with self._translated("a list of its collections"):
            found = list(self._listed([TAG, *tags]))
        for name in found:
            try:
                yield CollectionId.parse(name)
            except InvalidName:
                continue

    def commit(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        """Make one commit of all files, and the repository before the first.

        Raises:
            CommitConflict: the collection is no longer at `parent`.
            IntegrityError: a local file was changed meanwhile.
            AccessDenied: the token is missing, wrong, or may not write there.
            HubError: the registry cannot be written.
        """
        if not self._holds(collection):
            raise UsageError(f"{collection} does not belong into {self.name}")
        if parent is None:
            base = self._make(collection)
        elif COMMIT.fullmatch(parent):
            base = parent
        else:
            raise self._conflict(collection, parent)
        index = bytes_of(changes[INDEX_FILE])
        for pause_s in (*PAUSES_S, None):
            try:
                return self._commit_once(collection, changes, parent=base, message=message)
            except Exception as error:
                if not is_of_client(error):
                    raise
                status = status_of(error)
                # A lost answer, or the second try of a commit whose answer was lost.
                if (status in CONFLICT or is_transient(error)) and (landed := self._landed(collection, base, index)):
                    return landed
                if status in CONFLICT or (status == 404 and parent is not None):
                    raise self._conflict(collection, parent) from error
                if pause_s is None or not is_transient(error):
                    raise hub_error(error, what=f"a commit to {collection}", registry=self.name) from error
                pause(pause_s, error)
        raise AssertionError

    def _listed(self, tags: Iterable[str]) -> Iterator[str]:
        """Yield the names of all repositories with some tags, page by page."""
        asked = [("filter", tag) for tag in tags] + ([("author", self.owner)] if self.owner else [])
        url = f"{self.endpoint}/api/models?{urlencode(asked)}"
        for _ in range(PAGES):
            headers, page = ask(url, self._headers())
            yield from (each["id"] for each in page if isinstance(each.get("id"), str))
            following = NEXT_PAGE.search(headers.get("Link", ""))
            if following is None:
                return
            url = urljoin(url, following[1])
            if not url.startswith(f"{self.endpoint}/"):
                raise HubError(f"{self.name} sends elsewhere for the rest of its list: {url}")

    def _make(self, collection: CollectionId) -> str | None:
        """Return the commit to build on, of a repository that has no index yet; it is made where there is none."""
        api = self.api
        with self._translated(str(collection)):
            retried(lambda: api.create_repo(str(collection), private=self.private or None, exist_ok=True))
            _, found = ask(f"{self.endpoint}/api/models/{collection}", self._headers())
        if any(file.get("rfilename") == INDEX_FILE for file in found.get("siblings", ())):
            raise self._conflict(collection, None)
        sha: str | None = found.get("sha")
        return sha

    def _commit_once(
        self, collection: CollectionId, changes: Mapping[str, Content], *, parent: str | None, message: str
    ) -> str:
        api = self.api
        with ExitStack() as opened, _silence():
            operations = {path: self._addition(path, content, opened) for path, content in changes.items()}
            # Large files go first; a commit that names them is then short, and their digests are known.
            api.preupload_lfs_files(str(collection), list(operations.values()))
            for path, content in changes.items():
                _check_sent(operations[path], content)
            done = api.create_commit(
                str(collection), list(operations.values()), commit_message=message, parent_commit=parent
            )
        return str(done.oid)

    def _addition(self, path: str, content: Content, opened: ExitStack) -> CommitOperationAdd:
        """Return what adds a file: a path for the public Hub, which takes it through Xet, an open file elsewhere.

        Recent clients send paths and bytes through Xet without asking whether the server has it.
        """
        from huggingface_hub import CommitOperationAdd

        if isinstance(content, LocalFile) and content.size < LARGE_BYTES:
            content = bytes_of(content)
        source: Any = content.path if isinstance(content, LocalFile) else content
        if self.endpoint != HUB:
            file = content.path.open("rb") if isinstance(content, LocalFile) else io.BytesIO(content)
            source = opened.enter_context(file)
        return CommitOperationAdd(path_in_repo=path, path_or_fileobj=source)

    def _landed(self, collection: CollectionId, parent: str | None, index: bytes) -> str | None:
        """Return the commit that holds just this index, if it is the newest."""
        try:
            head = self.head(collection)
            if head in (None, parent):
                return None
            found = self.read(collection, INDEX_FILE, revision=head, limit=limits.INDEX_BYTES)
        except HubError:
            return None
        return head if found == index else None

    def _holds(self, collection: CollectionId) -> bool:
        return self.owner in (None, collection.owner) and self.collection in (None, collection.name)

    def _conflict(self, collection: CollectionId, parent: str | None) -> CommitConflict:
        expected = f"commit {parent}" if parent else "its beginning"
        return CommitConflict(f"{collection} in {self.name} is no longer at {expected}: somebody else has published")

    def _url(self, collection: CollectionId, path: str, revision: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(str(collection), path, revision=revision, endpoint=self.endpoint)

    def _headers(self) -> dict[str, str]:
        token = self.token
        return {"User-Agent": f"modhub/{__version__}", **({"Authorization": f"Bearer {token}"} if token else {})}

    def _translated(self, what: str) -> Any:
        return translated(what, registry=self.name)


def _check_sent(operation: CommitOperationAdd, content: Content) -> None:
    """Check that a large file was sent as it was when it was hashed.

    Raises:
        IntegrityError: it was changed.
    """
    if not isinstance(content, LocalFile) or content.size < LARGE_BYTES:
        return
    sent = operation.upload_info.sha256
    if sent is None:
        for _ in content.chunks():
            pass
    elif sent.hex() != content.sha256:
        raise IntegrityError(f"{content.path} was changed while it was read")


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the client's bars and its hint at Xet off the terminal."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub._commit_api")
    shown, had_bars = logger.level, not are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if had_bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(shown)
        if had_bars:
            enable_progress_bars()
