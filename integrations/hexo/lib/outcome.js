'use strict';

/** What became of the build: counted, told once, and made good by the next one. */

const NAMED = 5;

class Outcome {
  constructor(hexo, options) {
    this.hexo = hexo;
    this.options = options;
    this.reset();
    this.unfinished = new Set();
  }

  reset() {
    this.replaced = 0;
    this.left = 0;
    this.texts = 0;
    this.failures = [];
  }

  done(replaced, left) {
    this.texts += 1;
    this.replaced += replaced;
    this.left += left;
  }

  /**
   * Note that a text keeps its addresses; with `on_error: fail` the build ends here.
   *
   * @param {string} name of the text
   * @param {Error} error
   * @param {object} [document] the post or page, which the next build has to render again
   */
  failed(name, error, document) {
    if (document) this.unfinished.add(document);
    if (this.options.on_error === 'fail') {
      throw new Error(`imgmirror: ${name}: ${error.message}`, { cause: error });
    }
    this.failures.push(`${name}: ${error.message}`);
  }

  /** Say in a few lines what was done and what was not. */
  tell() {
    const { log } = this.hexo;
    if (this.texts) {
      const left = this.left ? `, ${this.left} left (hexo imgmirror check names those of the source files)` : '';
      log.info(`imgmirror: ${this.replaced} addresses replaced in ${this.texts} texts${left}`);
    }
    if (this.failures.length) {
      log.warn(`imgmirror: ${this.failures.length} texts keep their addresses:`);
      this.failures.slice(0, NAMED).forEach(failure => log.warn(`  ${failure}`));
      if (this.failures.length > NAMED) log.warn(`  and ${this.failures.length - NAMED} more`);
    }
    this.reset();
  }

  /** Let the next build render again what was not rewritten: Hexo keeps rendered content in its database. */
  async forgetUnfinished() {
    for (const document of this.unfinished) {
      if (typeof document.save !== 'function') continue;
      document.content = undefined;
      await document.save();
    }
    this.unfinished.clear();
  }
}

module.exports = { Outcome };
