"""The types that JSON becomes and that become JSON: requests and answers."""
