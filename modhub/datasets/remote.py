"""Single files of the Hub's data sets, fetched into the Hub's own cache."""

from __future__ import annotations

import re
from pathlib import Path

from modhub.errors import HubError, NotFound, UsageError

HUB_SCHEME = "hf://"
HUB_FORM = "hf://datasets/OWNER/NAME[@REVISION]/PATH/TO/FILE"
PATTERN = re.compile(r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?/(?P<file>.+)")


def fetch_hub_file(source: str) -> Path:
    """Return the local copy of one file of a data set on the Hub.

    Raises:
        UsageError: the address is not of the form above.
        NotFound: the Hub has no such data set, revision or file, or does not show it to this user.
        HubError: the Hub cannot be reached, or refuses.
    """
    match = PATTERN.fullmatch(source)
    if match is None:
        raise UsageError(f"{source!r} names no file of a data set: expected {HUB_FORM}")
    # Slow to import, and only this form needs it.
    from huggingface_hub import errors, hf_hub_download

    missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError)
    try:
        local = hf_hub_download(match["repo"], match["file"], repo_type="dataset", revision=match["revision"])
    except missing as error:
        raise NotFound(f"{source}: not on the Hub, or not visible to you: {error}") from error
    except errors.HFValidationError as error:
        raise UsageError(f"{source!r} names no file of a data set: {error}") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise HubError(f"{source}: cannot be fetched from the Hub: {error}") from error
    return Path(local)
