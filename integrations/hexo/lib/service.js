'use strict';

/** The service's `POST /rewrite`: a few requests at a time, patience with a busy service, none with a dead one. */

const { requireNoLoopback } = require('./loopback');

const AT_ONCE = 4;
const TRIES = 4;
const LONGEST_WAIT_SECONDS = 30;
/** After so many requests in a row that got no answer the service is not asked again by this build. */
const DEAD_AFTER = 3;

/** Why a text was not rewritten, for the owner of the site. */
class RewriteError extends Error {}

class Service {
  constructor(options) {
    this.options = options;
    this.unanswered = 0;
    this.free = AT_ONCE;
    this.waiting = [];
    const query = new URLSearchParams();
    if (options.all_images) query.set('all_images', '1');
    if (options.responsive) query.set('responsive', '1');
    const search = query.toString();
    this.address = `${options.url}/rewrite${search ? `?${search}` : ''}`;
  }

  /**
   * Return a text with its pictures pointing at the mirror, and how many addresses changed and were left.
   *
   * @param {string} text
   * @param {string} type its media type
   * @returns {Promise<{text: string, replaced: number, left: number}>}
   * @throws {RewriteError} the service failed, or answered what it should not
   */
  async rewrite(text, type) {
    await this.enter();
    try {
      const answer = await this.ask(text, type);
      const replaced = answer.headers.get('x-imgmirror-replaced');
      if (replaced === null) throw new RewriteError(`${this.options.url} is not an imgmirror service`);
      const found = await answer.text();
      if (!this.options.allow_loopback) requireNoLoopback(text, found, RewriteError);
      return { text: found, replaced: Number(replaced), left: Number(answer.headers.get('x-imgmirror-left')) };
    } finally {
      this.leave();
    }
  }

  async ask(text, type) {
    for (let tries = 1; ; tries += 1) {
      const answer = await this.post(text, type);
      if (answer.ok) return answer;
      const body = await answer.text();
      if (answer.status !== 503 || tries === TRIES) throw new RewriteError(said(answer, body));
      const seconds = Math.min(Number(answer.headers.get('retry-after')) || tries, LONGEST_WAIT_SECONDS);
      await new Promise(done => setTimeout(done, seconds * 1000));
    }
  }

  async post(text, type) {
    if (this.unanswered >= DEAD_AFTER) throw new RewriteError(`${this.options.url} does not answer`);
    const headers = { 'Content-Type': `${type}; charset=utf-8`, Accept: 'application/json, */*' };
    if (this.options.token) headers.Authorization = `Bearer ${this.options.token}`;
    try {
      const answer = await fetch(this.address, {
        method: 'POST',
        body: text,
        headers,
        // A redirect would carry the article, and by some servers' fault the token, somewhere else.
        redirect: 'error',
        signal: AbortSignal.timeout(this.options.timeout * 1000),
      });
      this.unanswered = 0;
      return answer;
    } catch (error) {
      this.unanswered += 1;
      const reason = (error.cause && (error.cause.code || error.cause.message)) || error.message;
      throw new RewriteError(`${this.options.url} does not answer: ${reason}`);
    }
  }

  async enter() {
    if (this.free > 0) this.free -= 1;
    else await new Promise(done => this.waiting.push(done));
  }

  leave() {
    const next = this.waiting.shift();
    if (next) next();
    else this.free += 1;
  }
}

function said(answer, body) {
  try {
    const { code, message } = JSON.parse(body);
    if (code) return `the service answered ${answer.status} ${code}: ${message}`;
  } catch {
    // Not ours: a web server in front.
  }
  return `the service answered ${answer.status} ${answer.statusText}`;
}

module.exports = { RewriteError, Service };
