/* global hexo */
'use strict';

/**
 * Points the pictures of a Hexo site at an imgmirror service.
 *
 * With `imgmirror.url` every rendered post and page, and the addresses in its front matter, go through the service's
 * `POST /rewrite`; with `imgmirror.pages` the generated pages and feeds do too. `hexo imgmirror …` runs the command
 * line on the source files instead. A service that fails is told about: the addresses stay, or the build fails.
 */

const { optionsOf } = require('./lib/options');
const { Service } = require('./lib/service');
const { Outcome } = require('./lib/outcome');
const { runConsole } = require('./lib/console');
const { rewriteDocument } = require('./lib/document');
const { rewriteRoutes } = require('./lib/routes');

const { options, problem } = read();

function read() {
  try {
    return { options: optionsOf(hexo.config.imgmirror, process.env) };
  } catch (error) {
    // Hexo goes on without a plugin that does not load; a site with a mistyped option is not what its owner asked for.
    const refuse = () => {
      throw error;
    };
    hexo.extend.filter.register('before_generate', refuse);
    return { options: optionsOf({}, {}), problem: error };
  }
}

if (hexo.config.imgmirror) {
  // Themes may print the whole configuration into their pages.
  delete hexo.config.imgmirror.token;
}

hexo.extend.console.register(
  'imgmirror',
  'Point the pictures of the source files at the mirror, or put the addresses back.',
  {
    usage: '<rewrite | check | diff | undo> [path ...]',
    arguments: [
      { name: 'rewrite', desc: 'Rewrite the addresses in the source files. .imgmirror/ keeps the way back.' },
      { name: 'check', desc: 'Exit with 1 when an address is left to rewrite.' },
      { name: 'diff', desc: 'Show what rewrite would change.' },
      { name: 'undo', desc: 'Put the original addresses back.' },
      { name: 'path', desc: 'Files or folders. The default is the source folder and the configuration.' },
    ],
  },
  function (args) {
    if (problem) throw problem;
    return runConsole(hexo, options, args._);
  }
);

const service = options.url ? new Service(options) : null;
const outcome = new Outcome(hexo, options);

if (service) {
  // Before the excerpt is split off, which has the default priority of 10.
  hexo.extend.filter.register('after_post_render', data => rewriteDocument(data, service, options, outcome), 9);
}
if (options.pages) {
  hexo.extend.filter.register('after_generate', () => rewriteRoutes(hexo, service, options, outcome), 99);
}
if (service || options.pages) {
  hexo.extend.filter.register('after_generate', () => outcome.tell(), 100);
  // Before the database is saved.
  hexo.extend.filter.register('before_exit', () => outcome.forgetUnfinished(), 5);
}
