"""Everything that can be set: declared once, loaded from one file and the environment.

`settings` and `listening` declare, `loading` reads `tokenmq.toml` and `TOKENMQ_…` variables,
`describing` tells what is set and writes the reference page. The maxima that
the standards fix, and that nobody sets, are in `limits`.
"""

from __future__ import annotations

from tokenmq.config.database_url import DatabaseAddress, database_address
from tokenmq.config.describing import Effective, document, effective
from tokenmq.config.guarding import AuditSettings, AuthSettings
from tokenmq.config.listening import (
    WITH_TLS,
    AdminSettings,
    HttpSettings,
    HttpsSettings,
    Listening,
    MqttSettings,
    MqttsSettings,
    PlainListener,
    TlsListener,
    TlsSettings,
    WebsocketSettings,
    WssSettings,
)
from tokenmq.config.loading import load
from tokenmq.config.secret import Secret
from tokenmq.config.settings import (
    BrokerSettings,
    DatabaseSettings,
    DataSettings,
    LogSettings,
    ProviderSettings,
    Settings,
    TokenSettings,
)

__all__ = [
    "Settings",
    "HttpSettings",
    "HttpsSettings",
    "MqttSettings",
    "MqttsSettings",
    "WebsocketSettings",
    "WssSettings",
    "TlsSettings",
    "AdminSettings",
    "PlainListener",
    "TlsListener",
    "Listening",
    "WITH_TLS",
    "BrokerSettings",
    "AuthSettings",
    "AuditSettings",
    "DataSettings",
    "DatabaseSettings",
    "TokenSettings",
    "ProviderSettings",
    "LogSettings",
    "DatabaseAddress",
    "Secret",
    "database_address",
    "load",
    "effective",
    "Effective",
    "document",
]
