'use strict';

/** Whole generated pages, feeds and style sheets: what the theme shows is rewritten too. */

const fs = require('fs/promises');
const os = require('os');
const path = require('path');
const { quietly } = require('./command');
const { requireNoLoopback } = require('./loopback');

const TYPES = {
  '.html': 'text/html',
  '.htm': 'text/html',
  '.xml': 'application/xml',
  '.rss': 'application/rss+xml',
  '.atom': 'application/atom+xml',
  '.json': 'application/json',
  '.css': 'text/css',
};

/** Rewrite every generated text: through the service when there is one, by one run of the command otherwise. */
async function rewriteRoutes(hexo, service, options, outcome) {
  const texts = hexo.route.list().filter(name => typeOf(name));
  if (!service) return throughCommand(hexo, texts, options, outcome);
  await Promise.all(texts.map(name => throughService(hexo, name, service, outcome)));
}

function typeOf(name) {
  return TYPES[path.posix.extname(name).toLowerCase()];
}

async function throughService(hexo, name, service, outcome) {
  const before = await textOf(hexo, name);
  if (!before.includes('//')) return;
  try {
    const { text, replaced, left } = await service.rewrite(before, typeOf(name));
    hexo.route.set(name, text);
    outcome.done(replaced, left);
  } catch (error) {
    hexo.route.set(name, before);
    outcome.failed(name, error);
  }
}

async function throughCommand(hexo, names, options, outcome) {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'hexo-imgmirror-'));
  try {
    const before = new Map();
    for (const name of names) {
      before.set(name, await textOf(hexo, name));
      await fs.mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await fs.writeFile(path.join(folder, name), before.get(name));
    }
    const report = await quietly(options, ['rewrite', folder, '--write', '--json']);
    const after = await Promise.all(names.map(name => fs.readFile(path.join(folder, name), 'utf8')));
    names.forEach((name, place) => {
      if (!options.allow_loopback) requireNoLoopback(before.get(name), after[place], Error);
    });
    names.forEach((name, place) => hexo.route.set(name, after[place]));
    outcome.texts += report.articles.length;
    outcome.replaced += report.replaced;
    outcome.left += report.left;
  } catch (error) {
    outcome.failed('the generated pages', error);
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}

function textOf(hexo, name) {
  return new Promise((done, failed) => {
    const chunks = [];
    const stream = hexo.route.get(name);
    stream.on('data', chunk => chunks.push(Buffer.from(chunk)));
    stream.on('end', () => done(Buffer.concat(chunks).toString('utf8')));
    stream.on('error', failed);
  });
}

module.exports = { rewriteRoutes };
