'use strict';

/** `hexo imgmirror <rewrite | check | diff | undo> [path ...]`. */

const fs = require('fs');
const path = require('path');
const { loudly, switches } = require('./command');

const MODES = { rewrite: ['--write'], check: ['--check'], diff: ['--diff'], undo: ['--undo'] };

/** Run the command line on the source files; the exit code is the command's. */
async function runConsole(hexo, options, words) {
  const [mode, ...paths] = words;
  if (!Object.hasOwn(MODES, mode ?? '')) {
    hexo.log.error(`Use: hexo imgmirror <${Object.keys(MODES).join(' | ')}> [path ...]`);
    process.exitCode = 2;
    return;
  }
  const all = ['rewrite', ...(paths.length ? paths : defaultPaths(hexo)), ...MODES[mode]];
  all.push(...switches(options, { writes: mode !== 'undo' }));
  try {
    process.exitCode = await loudly(options, all, hexo.base_dir);
  } catch (error) {
    hexo.log.error(error.message);
    process.exitCode = 2;
  }
}

/** Return the source folder and the configurations of site and theme, which name the avatars and covers of the site. */
function defaultPaths(hexo) {
  const source = path.relative(hexo.base_dir, hexo.source_dir) || '.';
  const configurations = fs.readdirSync(hexo.base_dir).filter(name => /^_config(\..+)?\.(ya?ml|json)$/.test(name));
  return [source, ...configurations];
}

module.exports = { runConsole };
