"""Every limit of the formats, each with its reason.

Readers refuse what exceeds a limit before they allocate for it. The page on the format quotes these constants.
"""

from __future__ import annotations

MANIFEST_BYTES = 1 << 20
"""`module.json`. A thousand classes with aliases take about 200 KiB."""

INDEX_BYTES = 64 << 20
"""`modhub.json`. One release takes about 2 KiB, so this holds some 30,000 of them."""

SITES_BYTES = 8 << 20
"""`sites.json`. ResNet-152 takes about 70 KiB."""

SITE_POSITIONS = 1 << 24
"""Channels of all sites of a base, and positions in all runs of `sites.json`. ResNet-152 has 84,000 and 460,000."""

LOCK_BYTES = 16 << 20
"""`modhub.lock`. One locked module takes about 1 KiB."""

RECIPE_BYTES = 1 << 20
"""`modhub.toml`. People write a few hundred bytes; a thousand requirements take about 60 KiB."""

DOCUMENT_DEPTH = 32
"""Nesting of JSON and TOML. Ours need 6; the libraries crash somewhere above 1,000."""

INTEGER_MAGNITUDE = (1 << 53) - 1
"""Integers in documents. Beyond it, JavaScript readers round silently."""

PROBLEMS = 100
"""Problems of one package that are told. Nobody reads more, and a hostile file can hold millions."""

NAME_LENGTH = 96
"""An owner, collection or package name. It is the limit of the Hugging Face Hub."""

VERSION_LENGTH = 64
"""A version as text. Parsing numbers of thousands of digits takes quadratic time."""

SPECIFIER_LENGTH = 256
"""A version specifier. Enough for a range and a dozen exclusions."""

REQUIREMENT_LENGTH = 2_000
"""A requirement as text: three names, a specifier, options and a digest."""

ARRAY_NAME_LENGTH = 200
"""The name of an array or graph value. Exporters write up to about 100 characters."""

FILE_NAME_LENGTH = 128
"""A file name inside a release. File systems allow 255 bytes, temporary names need some of them."""

TEXT_LENGTH = 4_096
"""Any other text field of a document, in characters."""

SUMMARY_LENGTH = 500
"""A one-line summary. It must fit a search result."""

FILES_PER_RELEASE = 64
"""Files that one manifest names. A release needs at most six."""

FILE_BYTES = 1 << 40
"""The announced size of one file: 1 TiB."""

TENSOR_RANK = 8
"""Dimensions of an array or port. ONNX Runtime's kernels are tested up to 8."""

DIMENSION = (1 << 31) - 1
"""One dimension of an array. ONNX Runtime indexes with 32 bits in places."""

GRAPH_BYTES = 16 << 20
"""`model.onnx`: nodes only. ResNet-152 takes about 60 KiB."""

GRAPH_FIELDS = 1 << 19
"""Fields of all messages in `model.onnx`, about 30 a node. Empty ones take a hundred times the file's size."""

HEADER_BYTES = 8 << 20
"""The header of a safetensors file. 5,000 entries take about 600 KiB."""

GRAPH_NODES = 5_000
"""Nodes of one graph. Checking is quadratic in places, and the largest supported parent has about 1,500."""

GRAPH_TENSORS = 5_000
"""Arrays of one graph, for the same reason."""

GRAPH_TEXT_BYTES = 64 << 10
"""One text attribute or metadata entry of a graph."""

GRAPH_METADATA_BYTES = 4 << 20
"""One metadata entry of the model. Composites carry their lock there, about 1 KiB a module."""

VALUE_ELEMENTS = 1 << 28
"""Elements of one value of a graph, for one input: 1 GiB of float32. VGG-16 computes at most 3 million."""

INLINE_ELEMENTS = 1 << 16
"""Elements of an array that stays inside the graph: shapes, axes and indices. Weights live in their own file."""
