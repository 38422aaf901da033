"""Short-lived, scoped tokens for MQTT: token service, broker, client."""

__version__ = "0.1.0"
