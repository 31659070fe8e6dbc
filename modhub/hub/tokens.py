"""Who we are at a registry: the token that is sent to it, and to no other.

For the public Hub it is the one that ``hf auth login`` keeps, or ``HF_TOKEN``. For any other registry it is
``MODHUB_TOKEN`` where a person named the registry, or the one that ``modhub login`` kept for this very address. A
registry that only a lock names gets no ``MODHUB_TOKEN``: locks come from strangers.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from modhub import fsops
from modhub.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "MODHUB_TOKEN"
FILE_BYTES = 1 << 16


def token_of(endpoint: str, *, named: bool) -> str | None:
    """Return the token for a registry, or None.

    Args:
        endpoint: its address.
        named: whether a person named it, and not a lock.

    Raises:
        UsageError: the file of tokens cannot be read.
    """
    kept = hub_token() if is_hub(endpoint) else read_tokens().get(endpoint)
    given = os.environ.get(VARIABLE, "").strip() if named else ""
    # What is meant for the Hub goes by its own variable, so a general token does not displace it.
    return kept or given or None if is_hub(endpoint) else given or kept


def is_hub(endpoint: str) -> bool:
    """Tell whether an address is the one that the Hub's own client goes to."""
    from huggingface_hub import constants

    return endpoint == constants.ENDPOINT.rstrip("/")


def hub_token() -> str | None:
    """Return the token of the Hub's own client, or None."""
    from huggingface_hub import get_token

    return get_token()


def keep_token(endpoint: str, token: str) -> None:
    """Keep a token for a registry, readable by this user only; for the Hub, as its own client keeps it.

    Raises:
        StorageError: it cannot be written.
        UsageError: the file of tokens cannot be read.
    """
    if is_hub(endpoint):
        from huggingface_hub import constants

        _write(Path(constants.HF_TOKEN_PATH), token)
        return
    _write_tokens({**read_tokens(), endpoint: token})


def drop_token(endpoint: str) -> bool:
    """Forget the token of a registry; tell whether there was one.

    Raises:
        StorageError: it cannot be written.
        UsageError: the file of tokens cannot be read.
    """
    if is_hub(endpoint):
        from huggingface_hub import constants

        path = Path(constants.HF_TOKEN_PATH)
        there = path.is_file()
        fsops.remove(path)
        return there
    tokens = read_tokens()
    if endpoint not in tokens:
        return False
    _write_tokens({address: token for address, token in tokens.items() if address != endpoint})
    return True


def tokens_file() -> Path:
    """Return where the tokens of registries other than the Hub are kept."""
    from platformdirs import user_config_path

    return user_config_path("modhub") / "tokens.toml"


def read_tokens() -> dict[str, str]:
    """Return the kept tokens by address.

    Raises:
        UsageError: the file is no table of texts.
    """
    path = tokens_file()
    try:
        document = tomllib.loads(fsops.read_file(path, limit=FILE_BYTES).decode("utf-8"))
    except NotFound:
        return {}
    except ValueError as error:
        raise UsageError(f"the tokens in {path} cannot be read: {error}") from error
    return {address: token for address, token in document.items() if isinstance(token, str)}


def _write_tokens(tokens: Mapping[str, str]) -> None:
    import tomli_w

    _write(tokens_file(), tomli_w.dumps(dict(tokens)))


def _write(path: Path, text: str) -> None:
    fsops.make_folder(path.parent)
    fsops.replace_file(path, text.encode("utf-8"), private=True)
