'use strict';

/** One rendered post or page: its content and the addresses in its front matter, in one request. */

/** What Hexo itself puts into a post or a page; everything else is front matter. `photos` is both. */
const OWN = new Set([
  '_content', '_id', '__page', '__post', 'asset_dir', 'canonical_path', 'categories', 'comments', 'content', 'date', 'excerpt',
  'full_source', 'id', 'lang', 'layout', 'link', 'more', 'next', 'path', 'permalink', 'prev', 'published', 'raw', 'site',
  'slug', 'source', 'tags', 'title', 'updated',
]);
const MAX_DEPTH = 32;

/**
 * Rewrite the content and the front matter of a document in place.
 *
 * The service reads the front matter as JSON before the content, so that its own rules say which key takes which preset.
 */
async function rewriteDocument(data, service, options, outcome) {
  const fields = addressesOf(data, options.fields);
  const content = data.content || '';
  if (!content.includes('//') && !Object.keys(fields).length) return data;
  // JSON on one line: the first line break of the answer ends it.
  const sent = `${JSON.stringify(fields)}\n${content}`;
  try {
    const { text, replaced, left } = await service.rewrite(sent, 'text/html');
    const end = text.indexOf('\n');
    merge(data, JSON.parse(text.slice(0, end)));
    data.content = text.slice(end + 1);
    outcome.done(replaced, left);
  } catch (error) {
    outcome.failed(data.source || data.path || '?', error, data);
  }
  return data;
}

/** Return the fields of the front matter that hold an address, each as a whole. */
function addressesOf(data, wanted) {
  const found = {};
  for (const key of Object.keys(data)) {
    if (OWN.has(key) || (wanted.length && !wanted.includes(key))) continue;
    const value = plain(data[key], 0);
    if (value !== undefined && JSON.stringify(value).includes('//')) found[key] = value;
  }
  return found;
}

/** Return a copy of texts, lists and plain objects without anything else; undefined when nothing is left. */
function plain(value, depth) {
  if (typeof value === 'string') return value;
  if (depth > MAX_DEPTH) return undefined;
  if (Array.isArray(value)) return value.map(item => plain(item, depth + 1) ?? null);
  if (value === null || typeof value !== 'object' || !isPlain(value)) return undefined;
  const kept = Object.entries(value)
    .map(([key, item]) => [key, plain(item, depth + 1)])
    .filter(([, item]) => item !== undefined);
  return kept.length ? Object.fromEntries(kept) : undefined;
}

function isPlain(value) {
  const kind = Object.getPrototypeOf(value);
  return kind === null || kind === Object.prototype;
}

/** Put the texts of `changed` into `target`, and leave all that is no text. */
function merge(target, changed) {
  for (const [key, value] of Object.entries(changed)) {
    if (typeof value === 'string') target[key] = value;
    else if (value !== null) merge(target[key], value);
  }
}

module.exports = { rewriteDocument };
