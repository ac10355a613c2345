"""A local page to try an exported model on; `bin/demo.py` starts it.

In reading order: `drawing` (how a drawing has to look for a model), `images` (uploads into pixels),
`confusion` (what the model takes for what), `service` (what the page asks of the model), `server`
(HTTP around it, and what it refuses), and `page/`, which the browser gets as it is.
"""
