"""The self-hosted registry: a server that speaks the protocol of the Hugging Face Hub and checks modhub collections.

```
run.py        the process: settings in, a served application out
app.py        the application: a list of routes, and what goes around each of them
routes/       one file a subject; each parses a request, asks `storage` and answers
auth/         who asks, and what that one may do
checks/       what a commit may do to a modhub collection
storage/      tables, blobs, trees of files: nothing in it knows HTTP
migrations/   how the tables came to be what they are
```
"""

from __future__ import annotations
