'use strict';

/** Runs the `imgmirror` command with what the options say. */

const { spawn } = require('child_process');

/** Return the words that the options add to a call of `rewrite`. */
function switches(options, { writes }) {
  const words = [];
  if (options.config) words.push('--config', options.config);
  if (options.base_url) words.push('--base-url', options.base_url);
  if (writes && options.all_images) words.push('--all-images');
  if (writes && options.responsive) words.push('--responsive');
  return words;
}

/**
 * Run the command on the terminal of the user; return its exit code.
 *
 * @throws {Error} it cannot be started
 */
function loudly(options, words, cwd) {
  return run(options, words, { cwd, stdio: 'inherit' }).then(({ code }) => code);
}

/**
 * Run the command; return the JSON that it prints.
 *
 * @throws {Error} it cannot be started or fails; the message is what it said
 */
async function quietly(options, words) {
  const all = [...words, ...switches(options, { writes: true })];
  const { code, output, errors } = await run(options, all, { stdio: ['ignore', 'pipe', 'pipe'] });
  if (code !== 0) throw new Error(`${options.command.join(' ')} exited with ${code}: ${errors.trim()}`);
  return JSON.parse(output);
}

function run(options, words, how) {
  const [program, ...first] = options.command;
  return new Promise((done, failed) => {
    const child = spawn(program, [...first, ...words], how);
    let output = '';
    let errors = '';
    child.stdout?.setEncoding('utf8').on('data', text => (output += text));
    child.stderr?.setEncoding('utf8').on('data', text => (errors += text));
    child.on('error', error =>
      failed(new Error(`${program} cannot be started (${error.code}); set imgmirror.command in _config.yml`))
    );
    child.on('close', code => done({ code: code ?? 2, output, errors }));
  });
}

module.exports = { loudly, quietly, switches };
