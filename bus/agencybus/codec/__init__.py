"""Events and their bytes: Avro in one strict form, schema ids, the schema gate, what an event must be.

    codec = Codec(agencybus_schemas.load())
    data = codec.encode(event)                      # checked: EventError names field, rule and hint
    event = codec.decode(schema_id, data)           # all of it, in its only form, or EventError

Pure: bytes of schemas, times and random bytes are handed in.
"""

from agencybus.codec.codec import Codec, Schema
from agencybus.codec.gate import examine
from agencybus.codec.profile import Profile
from agencybus.codec.uuid7 import uuid7

__all__ = ["Codec", "Profile", "Schema", "examine", "uuid7"]
