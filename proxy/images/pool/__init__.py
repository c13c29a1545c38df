"""The render processes and the jobs that wait for them: the queue, memory budgets, the cage.

The service holds a pool (`workers`). The pool knows only what `jobs` says about pictures. Inside `renderer`,
`proxy.images.pipeline` does the work.
"""
