"""The render processes and those who wait for them: jobs, one line, budgets of memory, the cage.

`workers` is what the service holds. Knows nothing of pixels but what `jobs` says; the work is done by
`proxy.images.pipeline` inside `renderer`.
"""
