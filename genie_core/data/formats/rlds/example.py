"""Decodes tf.train.Example, TensorFlow's message of named lists, without TensorFlow. Knows no steps or robots.

Source: tensorflow/core/example/example.proto and feature.proto, which define the message types declared here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from genie_core.errors import DatasetError

Values = Sequence[bytes] | Sequence[float] | Sequence[int]
"""One feature of an Example. A feature written without values is empty and has no type."""

_Field = FieldDescriptorProto
_LISTS = {
    "bytes_list": ("BytesList", _Field.TYPE_BYTES),
    "float_list": ("FloatList", _Field.TYPE_FLOAT),
    "int64_list": ("Int64List", _Field.TYPE_INT64),
}
"""The three kinds of a Feature in the order of their numbers: field, message type, type of a value."""


def parse_example(data: bytes) -> Mapping[str, Values]:
    """Return the features of a serialized tf.train.Example by name.

    Raises DatasetError if `data` is not one, saying what it is as far as possible.
    """
    example = _example_class()()
    try:
        example.ParseFromString(data)
    except DecodeError as error:
        raise DatasetError(f"got {len(data)} bytes that are no tf.train.Example: {error}") from error
    if example.HasField("feature_lists"):
        raise DatasetError("got a tf.SequenceExample, expected a tf.train.Example as TFDS writes it")
    features = {}
    for name, feature in example.features.feature.items():  # type: ignore[attr-defined]
        kind = feature.WhichOneof("kind")
        features[name] = getattr(feature, kind).value if kind else ()
    if not features:
        raise DatasetError(f"got {len(data)} bytes without a single feature, expected a tf.train.Example")
    return features


@cache
def _example_class() -> type[Message]:
    """Return the message type, made in its own pool so as not to clash with TensorFlow's if that is imported too."""
    file = FileDescriptorProto(name="genie_example.proto", package="genie_example", syntax="proto3")
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (message, value_type)) in enumerate(_LISTS.items(), 1):
        _add_field(file.message_type.add(name=message), "value", 1, value_type, is_repeated=True)
        _add_field(feature, name, number, message).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, _Field.TYPE_STRING)
    _add_field(entry, "value", 2, "Feature")
    _add_field(features, "feature", 1, "Features.FeatureEntry", is_repeated=True)
    example = file.message_type.add(name="Example")
    _add_field(example, "features", 1, "Features")
    # Only a tf.SequenceExample has this field: declaring it tells the two apart.
    _add_field(example, "feature_lists", 2, "Features")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("genie_example.Example"))


def _add_field(
    message: DescriptorProto, name: str, number: int, kind: _Field.Type.ValueType | str, *, is_repeated: bool = False
) -> _Field:
    """Declare a field of a scalar type, or of the message type named `kind`."""
    label = _Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if isinstance(kind, str):
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".genie_example.{kind}"
    else:
        field.type = kind
    return field


__all__ = ["Values", "parse_example"]
