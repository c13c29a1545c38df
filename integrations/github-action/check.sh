#!/usr/bin/env bash
# Runs `imgmirror rewrite --check` on $PATHS and says each address that is left to rewrite as an annotation of GitHub Actions.
set -euo pipefail

words=()
if [ "${ALL_IMAGES:-false}" = true ]; then words+=(--all-images); fi
if [ -n "${CONFIG:-}" ]; then words+=(--config "$CONFIG"); fi
paths=()
while IFS= read -r path; do
  if [ -n "$path" ]; then paths+=("$path"); fi
done <<< "${PATHS:-.}"

report=$(mktemp)
trap 'rm -f "$report"' EXIT
code=0
imgmirror rewrite --check --json "${words[@]}" "${paths[@]}" > "$report" || code=$?

# 2 is wrong use or a wrong configuration; imgmirror has said which.
if [ "$code" -gt 1 ]; then
  echo "::error title=imgmirror::rewrite --check exited with $code"
  exit "$code"
fi

python3 - "$report" >> "${GITHUB_OUTPUT:-/dev/null}" << 'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    articles = json.load(file)["articles"]


def escaped(text, also=""):
    """Escape what ends a command of GitHub Actions, or one of its properties."""
    for char in "%\r\n" + also:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


unfinished = 0
for article in articles:
    found = [(item["line"], f"shown through a wrapper: {item['old']}") for item in article["replaced"]]
    found += [(item["line"], f"{item['reason']}: {item['address']}") for item in article["left"] if not item["on_purpose"]]
    unfinished += len(found)
    place = escaped(article["path"], ":,")
    for line, message in sorted(found):
        print(f"::error file={place},line={line},title=imgmirror::{escaped(message)}", file=sys.stderr)
print(f"unfinished={unfinished}")
PYTHON

exit "$code"
