"""Tokens of identity providers: read strictly, and turned into one of our users.

`configuration` says what an organization has set up, `keys` reads a provider's key set,
`token` believes a token or refuses it, `kinds` has what differs by provider, `user` says
who a believed token is. Pure, like all of `tokens`: fetching key sets is the services'.
"""
