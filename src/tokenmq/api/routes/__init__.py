"""The handlers, one noun a module: typed call in, answer out; every rule is below them."""
