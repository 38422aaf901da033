"""Who may do what: permissions, grants, the organization's policy, and one decision over them.

Values and pure functions; nothing here knows packets, sockets, tokens' text or stores.
"""
