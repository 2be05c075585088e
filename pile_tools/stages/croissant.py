"""``croissant.json``: a directory described in the Croissant 1.1 vocabulary of MLCommons.

The vocabulary is at https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html. Every file is a
FileObject with its SHA-256, the tables of documents are RecordSets, and what the directory was made
from stands under prov:wasDerivedFrom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from pile_tools.formats.manifest import FileEntry, Manifest

__all__ = ["CROISSANT_NAME", "Description", "croissant"]

CROISSANT_NAME: Final = "croissant.json"
_ALIASES: Final = (
    *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes"),
    *("extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "sdVersion", "separator", "source", "subField", "transform"),
    *("unArchive", "value"),
)
_CONTEXT: Final[dict[str, Any]] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{alias: f"cr:{alias}" for alias in _ALIASES},
}
_TYPES: Final = (
    (".parquet", ["application/x-parquet"]),
    (".jsonl.zst", ["application/jsonlines", "application/zstd"]),
    (".jsonl.gz", ["application/jsonlines", "application/gzip"]),
    (".jsonl", ["application/jsonlines"]),
    (".json", ["application/json"]),
    (".txt", ["text/plain"]),
)
_RECORDS: Final = {
    "documents.parquet": (
        "documents",
        "One record for each document of the token dataset, in its order: where it came from.",
        {
            "shard": ("sc:Text", "Name of the shard that the document was read from."),
            "row": ("sc:Integer", "Its row there, counted from 0."),
            "source": ("sc:Text", "The named part of the corpus that it is from."),
            "n_tokens": ("sc:Integer", "Its tokens, an appended end-of-document token included."),
        },
    ),
    "dedup.parquet": (
        "removed",
        "One record for each document that deduplication removed, in corpus order.",
        {
            "shard": ("sc:Text", "Name of the shard that the document was in."),
            "row": ("sc:Integer", "Its row there, counted from 0."),
            "duplicate_of_shard": ("sc:Text", "Shard of the document that it repeats."),
            "duplicate_of_row": ("sc:Integer", "Row of the document that it repeats."),
            "jaccard": ("sc:Float", "Exact similarity of the two, absent where nothing was verified."),
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Description:
    """What only the publisher knows; nothing is made up where it is not given.

    ``license`` is an SPDX identifier or a URL, ``date_published`` YYYY-MM-DD, ``languages`` BCP 47 tags.
    """

    name: str
    description: str
    license: str | None = None
    url: str | None = None
    creator: str | None = None
    date_published: str | None = None
    version: str | None = None
    citation: str | None = None
    languages: tuple[str, ...] = ()

    @property
    def license_url(self) -> str | None:
        if self.license is None or "://" in self.license:
            return self.license
        return f"https://spdx.org/licenses/{self.license}"

    @property
    def missing(self) -> list[str]:
        """What Croissant requires and was not given."""
        given = {
            "license": self.license,
            "url": self.url,
            "creator": self.creator,
            "date-published": self.date_published,
        }
        return [name for name, value in given.items() if value is None]


def croissant(description: Description, manifest: Manifest, files: Sequence[FileEntry]) -> dict[str, Any]:
    """Return the Croissant description of a directory with ``files``, made as ``manifest`` says."""
    creator = None
    if description.creator is not None:
        creator = {"@type": "sc:Organization", "name": description.creator}
    optional = {
        "license": description.license_url,
        "url": description.url,
        "creator": creator,
        "datePublished": description.date_published,
        "version": description.version,
        "citeAs": description.citation,
        "inLanguage": list(description.languages) or None,
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": description.name,
        "description": description.description,
        **{name: value for name, value in optional.items() if value is not None},
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"pile-tools {manifest.stage}",
            "identifier": f"sha256:{manifest.identity}",
        },
        "prov:wasDerivedFrom": [
            {"@id": f"urn:sha256:{entry.sha256}", "prov:label": entry.name} for entry in manifest.inputs
        ],
        "distribution": [_file_object(entry) for entry in files],
        "recordSet": [_record_set(entry.name) for entry in files if entry.name in _RECORDS],
    }


def _identifier(name: str) -> str:
    """The ``@id`` of a file: its name, with what is not allowed in an IRI's path percent-encoded."""
    return quote(name, safe="/")


def _file_object(entry: FileEntry) -> dict[str, Any]:
    types = next((types for suffix, types in _TYPES if entry.name.endswith(suffix)), None)
    return {
        "@type": "cr:FileObject",
        "@id": _identifier(entry.name),
        "name": entry.name,
        "contentUrl": entry.name,
        "contentSize": f"{entry.bytes} B",
        "encodingFormat": types or ["application/octet-stream"],
        "sha256": entry.sha256,
    }


def _record_set(file: str) -> dict[str, Any]:
    name, description, fields = _RECORDS[file]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field}",
                "name": field,
                "description": text,
                "dataType": kind,
                "source": {"fileObject": {"@id": _identifier(file)}, "extract": {"column": field}},
            }
            for field, (kind, text) in fields.items()
        ],
    }
