"""The reference page of the gRPC contract, made from the .proto files: names, types and their comments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "genie_api.v1"

# Numbers of fields in descriptor.proto, which paths of comments are made of.
_MESSAGES, _ENUMS, _SERVICES = 4, 5, 6
_NESTED_FIELDS, _NESTED_MESSAGES, _NESTED_ENUMS = 2, 3, 4
_VALUES = _METHODS = 2

Comments = dict[tuple[int, ...], str]


def descriptors() -> FileDescriptorSet:
    """Return every file of the contract with its comments, as buf reads it."""
    buf = Path(sys.executable).with_name("buf")
    command = [str(buf), "build", str(ROOT / "protos"), "--as-file-descriptor-set", "--output", "-"]
    return FileDescriptorSet.FromString(subprocess.run(command, capture_output=True, check=True).stdout)


def page(files: Sequence[FileDescriptorProto] | None = None) -> str:
    """Return the page as Markdown; `files` are the contract's own where None."""
    files = list(descriptors().file) if files is None else files
    own = sorted((file for file in files if file.package == PACKAGE), key=lambda file: (not file.service, file.name))
    parts = [
        "# Contract\n\nMade from the .proto files of `genie_api.v1`. What may change and what may not: "
        "[compatibility](../compatibility.md); statuses of failed calls: [serving](../serving.md#what-clients-see).\n"
    ]
    for file in own:
        parts.extend(_file(file))
    return "\n".join(parts)


def _file(file: FileDescriptorProto) -> Iterator[str]:
    comments = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    yield f"## {file.name.rsplit('/', 1)[-1]}\n"
    for number, service in enumerate(file.service):
        yield from _service(service, (_SERVICES, number), comments)
    for number, message in enumerate(file.message_type):
        yield from _message(message, message.name, (_MESSAGES, number), comments)
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, enum.name, (_ENUMS, number), comments)


def _service(service: ServiceDescriptorProto, path: tuple[int, ...], comments: Comments) -> Iterator[str]:
    yield f"### {service.name}\n\n{_prose(comments, path)}\n"
    for number, method in enumerate(service.method):
        asked = ("stream " if method.client_streaming else "") + _linked(method.input_type)
        answered = ("stream " if method.server_streaming else "") + _linked(method.output_type)
        yield f"#### {service.name}.{method.name}\n\n({asked}) returns ({answered})\n"
        yield f"{_prose(comments, (*path, _METHODS, number))}\n"


def _message(message: DescriptorProto, name: str, path: tuple[int, ...], comments: Comments) -> Iterator[str]:
    yield f"### {name}\n\n{_prose(comments, path)}\n"
    if message.field:
        yield "| field | type | |\n| --- | --- | --- |"
        for number, field in enumerate(message.field):
            text = _prose(comments, (*path, _NESTED_FIELDS, number)).replace("|", "\\|")
            yield f"| `{field.name}` = {field.number} | {_field_type(message, field)} | {text} |"
        yield ""
    for number, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _message(nested, f"{name}.{nested.name}", (*path, _NESTED_MESSAGES, number), comments)
    for number, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.{enum.name}", (*path, _NESTED_ENUMS, number), comments)


def _enum(enum: EnumDescriptorProto, name: str, path: tuple[int, ...], comments: Comments) -> Iterator[str]:
    yield f"### {name}\n\n{_prose(comments, path)}\n\n| value | |\n| --- | --- |"
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` = {value.number} | {_prose(comments, (*path, _VALUES, number))} |"
    yield ""


def _field_type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    kind = _linked(field.type_name) if field.type_name else FieldDescriptorProto.Type.Name(field.type)[5:].lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    if field.proto3_optional:
        return f"optional {kind}"
    if field.HasField("oneof_index"):
        return f"{kind}, one of `{message.oneof_decl[field.oneof_index].name}`"
    return kind


def _linked(type_name: str) -> str:
    """Return a type as a link to its section, where it is one of the contract's."""
    name = type_name.removeprefix(f".{PACKAGE}.")
    if name == type_name:
        return f"`{type_name.removeprefix('.')}`"
    return f"[{name}](#{name.lower().replace('.', '')})"


def _prose(comments: Comments, path: tuple[int, ...]) -> str:
    return " ".join(comments.get(path, "").split())


__all__ = ["descriptors", "page"]
