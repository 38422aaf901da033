"""Maxima that the standards or the wire contract fix; nothing here can be set.

What an operator may change is in `config`.
"""

from __future__ import annotations

# MQTT 5 §1.5.4: a UTF-8 string has a two byte length.
MAX_STRING_BYTES = 65_535
# MQTT 5 §1.5.5: four bytes of seven bits.
MAX_VARIABLE_INTEGER = 268_435_455
# MQTT 5 §2.2.1: packet identifiers are 1 to 65,535.
MAX_PACKET_ID = 65_535
# MQTT 5 §3.1.2.11.3: the receive maximum when the property is absent.
DEFAULT_RECEIVE_MAXIMUM = 65_535
# MQTT 5 §3.1.2.10: keep alive is closed at one and a half times its value.
KEEP_ALIVE_FACTOR = 1.5
# No topic or filter may have more levels than this, whatever is configured.
MAX_TOPIC_LEVELS = 128

# The wire contract: a token's compact serialisation, in bytes.
MAX_TOKEN_BYTES = 8_192
# The wire contract: bounds of a token's life, in seconds.
MIN_TTL_SECONDS = 60
MAX_TTL_SECONDS = 86_400
# The wire contract: user_id and user_email, in bytes of UTF-8.
MAX_USER_ID_BYTES = 255
# The wire contract: topics of one token.
MAX_TOPICS = 64
# The wire contract: metadata of one token, in bytes of JSON.
MAX_METADATA_BYTES = 4_096
# The wire contract: no answer carries a token with less to live, in seconds.
MIN_REMAINING_SECONDS = 2
