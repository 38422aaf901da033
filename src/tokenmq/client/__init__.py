"""The client: the token service over HTTP, the broker over MQTT.

It imports `topics` and `errors` of ours at most, so that it can be installed alone.
"""
