"""The async use cases, one noun a module; no JSON and no SQL here.

`bundle.assemble` puts them together over one store. Every method is told the time; who
may call it is checked here, so that no edge can forget it.
"""
