"""The render processes and the jobs that wait for them: the queue, the cage, and what the machine has.

The service holds a pool (`workers`). The pool knows only what `proxy.images.jobs` says about pictures. Inside
`renderer`, `proxy.images.pipeline` does the work.
"""
