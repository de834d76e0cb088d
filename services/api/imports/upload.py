"""Receiving an upload: the form is read as a stream, its file goes to disk, and only then a transaction begins."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from services.api.edge import JsonRequest, begin
from services.api.errors import BadRequest, FieldError, Invalid, UnsupportedMediaType, invalid
from services.api.imports import documents
from services.api.imports.mapping import Mapping
from services.api.imports.schemas import ImportForm
from shared.db import Tx

PIECE = 1024 * 1024
FORMATS = {".csv": "csv", ".txt": "csv", ".tsv": "csv", ".xlsx": "xlsx", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_KINDS = {
    "text/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


@dataclass(slots=True)
class Upload:
    """A file on disk, what it is to be read as, and a digest of all that was sent."""

    file: UploadFile
    format: str
    mapping: Mapping
    options: ImportForm
    size: int
    digest: bytes


async def receive(request: Request) -> AsyncIterator[Upload]:
    """Reads the form; raises a problem that names the part that is wrong."""
    if not request.headers.get("idempotency-key"):
        raise BadRequest(
            "An import needs an Idempotency-Key header, so that an upload that is sent twice is imported once.",
            errors=[FieldError(pointer="header:Idempotency-Key", code="required", message="The header is missing.")],
        )
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise UnsupportedMediaType("Send multipart/form-data with the parts file and mapping.")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=2, max_fields=8, max_part_size=documents.MOST_BYTES + 1
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The form can't be read: {error.message}") from error
    try:
        yield await _upload(dict(form))
    finally:
        await form.close()


async def _upload(parts: dict[str, Any]) -> Upload:
    file, mapping = parts.pop("file", None), parts.pop("mapping", None)
    if not isinstance(file, UploadFile):
        raise invalid("/file", "required", "The part file, with the file to import, is missing.")
    if "\0" in (file.filename or ""):
        raise invalid("/file", "value_error", "the character NUL is not allowed in the name of a file")
    if mapping is None:
        raise invalid("/mapping", "required", "The part mapping (JSON or YAML) is missing.")
    text = await mapping.read(documents.MOST_BYTES + 1) if isinstance(mapping, UploadFile) else mapping
    parsed = documents.parse_mapping(text)
    options = _options(parts)
    if options.shift_dates_to is not None:
        shifted = {**parsed.model_dump(mode="json"), "shift_dates_to": options.shift_dates_to}
        parsed = documents.check_document(shifted)
    digest, size = hashlib.sha256(), 0
    while piece := await file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    format_ = _format(file, parsed, options)
    if not size and format_ != "ndjson":
        raise invalid("/file", "empty_file", "The file is empty.")
    said = parsed.model_dump_json() + options.model_dump_json()
    digest.update(said.encode())
    return Upload(file, format_, parsed, options, size, digest.digest())


def _options(parts: dict[str, Any]) -> ImportForm:
    try:
        return ImportForm.model_validate(parts, strict=False)
    except ValidationError as error:
        errors = [
            FieldError(
                pointer="/" + "/".join(str(part) for part in item["loc"]),
                code="unknown_field" if item["type"] == "extra_forbidden" else item["type"],
                message="This part is not known here." if item["type"] == "extra_forbidden" else item["msg"],
            )
            for item in error.errors()
        ]
        raise Invalid(f"Wrong: {errors[0].pointer}.", errors=errors) from error


def _format(file: UploadFile, mapping: Mapping, options: ImportForm) -> str:
    name = (file.filename or "").lower()
    by_name = next((format_ for ending, format_ in FORMATS.items() if name.endswith(ending)), None)
    by_kind = _KINDS.get((file.content_type or "").partition(";")[0].strip().lower())
    found = options.format or mapping.file.format or by_name or by_kind
    if found is None:
        raise invalid("/format", "required", "Neither the file's name nor its type says csv, xlsx or ndjson.")
    return found


ReceivedUpload = Annotated[Upload, Depends(receive)]


async def begin_upload(request: Request, upload: ReceivedUpload) -> Tx:
    """Begins the transaction; the Idempotency-Key is taken with the digest of the upload in the body's place."""

    async def digest() -> dict[str, Any]:
        return {"type": "http.request", "body": upload.digest, "more_body": False}

    return await begin(JsonRequest(request.scope, digest))


UploadTransaction = Annotated[Tx, Depends(begin_upload)]
