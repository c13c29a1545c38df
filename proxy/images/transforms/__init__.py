"""The change asked for: text, options, values. Pure; runs anywhere.

`options` is the language of one option, `wanted` the values, `resolved` their texts, `transform` what an address says.
"""
