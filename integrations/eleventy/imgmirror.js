'use strict';

/**
 * An Eleventy plugin: every page and feed that is written goes through the `POST /rewrite` of an imgmirror service.
 *
 *     eleventyConfig.addPlugin(require('./imgmirror'), { url: 'https://img.example.org' });
 */

const TYPES = { html: 'text/html', htm: 'text/html', xml: 'application/xml', json: 'application/json', css: 'text/css' };
const DEFAULTS = {
  url: '',
  token: process.env.IMGMIRROR_TOKEN || '',
  all_images: false,
  responsive: false,
  on_error: 'warn',
  timeout: 60,
  allow_loopback: false,
};
const TRIES = 4;
const LONGEST_WAIT_SECONDS = 30;
/** After so many requests in a row that got no answer the service is not asked again by this build. */
const DEAD_AFTER = 3;
// What follows `/` or `?` is the source inside an address of the mirror.
const LOOPBACK = /(?<![/?])https?:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=[:/])/gi;

module.exports = function imgmirror(eleventyConfig, given = {}) {
  const options = { ...DEFAULTS, ...given };
  const unknown = Object.keys(options).filter(name => !(name in DEFAULTS));
  if (unknown.length) throw new Error(`imgmirror: not known: ${unknown.join(', ')}`);
  if (!['warn', 'fail'].includes(options.on_error)) throw new Error('imgmirror: on_error must be warn or fail');
  if (!options.url) return;
  let build = { unanswered: 0, replaced: 0, failures: [] };

  eleventyConfig.addTransform('imgmirror', async function (content) {
    const name = this.page.outputPath || '';
    const type = TYPES[name.split('.').pop().toLowerCase()];
    if (!type || typeof content !== 'string' || !content.includes('//')) return content;
    try {
      return await rewritten(content, type, options, build);
    } catch (error) {
      if (options.on_error === 'fail') throw new Error(`imgmirror: ${name}: ${error.message}`, { cause: error });
      build.failures.push(`${name}: ${error.message}`);
      return content;
    }
  });

  eleventyConfig.on('eleventy.after', () => {
    const { replaced, failures } = build;
    build = { unanswered: 0, replaced: 0, failures: [] };
    console.log(`imgmirror: ${replaced} addresses replaced`);
    if (!failures.length) return;
    console.warn(`imgmirror: ${failures.length} pages keep their addresses:`);
    failures.slice(0, 5).forEach(failure => console.warn(`  ${failure}`));
  });
};

async function rewritten(text, type, options, build) {
  const answer = await ask(text, type, options, build);
  const replaced = answer.headers.get('x-imgmirror-replaced');
  if (replaced === null) throw new Error(`${options.url} is not an imgmirror service`);
  const found = await answer.text();
  if (!options.allow_loopback && count(found) > count(text)) {
    throw new Error('the service wrote addresses of this machine: set server.public_url in its configuration');
  }
  build.replaced += Number(replaced);
  return found;
}

async function ask(text, type, options, build) {
  for (let tries = 1; ; tries += 1) {
    const answer = await post(text, type, options, build);
    if (answer.ok) return answer;
    const said = await answer.text();
    if (answer.status !== 503 || tries === TRIES) {
      throw new Error(`the service answered ${answer.status} ${said.slice(0, 300)}`);
    }
    const seconds = Math.min(Number(answer.headers.get('retry-after')) || tries, LONGEST_WAIT_SECONDS);
    await new Promise(done => setTimeout(done, seconds * 1000));
  }
}

async function post(text, type, options, build) {
  if (build.unanswered >= DEAD_AFTER) throw new Error(`${options.url} does not answer`);
  const address = new URL(`${options.url.replace(/\/+$/, '')}/rewrite`);
  for (const name of ['all_images', 'responsive']) if (options[name]) address.searchParams.set(name, '1');
  const headers = { 'Content-Type': `${type}; charset=utf-8` };
  if (options.token) headers.Authorization = `Bearer ${options.token}`;
  const signal = AbortSignal.timeout(options.timeout * 1000);
  try {
    const answer = await fetch(address, { method: 'POST', body: text, headers, signal, redirect: 'error' });
    build.unanswered = 0;
    return answer;
  } catch (error) {
    build.unanswered += 1;
    throw new Error(`${options.url} does not answer: ${error.cause?.code || error.message}`);
  }
}

function count(text) {
  return (text.match(LOOPBACK) || []).length;
}
