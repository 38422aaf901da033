"""Topic Names and Topic Filters, MQTT 5 §4.7 and §4.8.2: their grammar, relations and trees.

`name` and `filter` say what is well formed and how two of them relate, `tree` finds
stored ones. Who may use a topic is not told here (`access`).
"""
