'use strict';

/** Reads `imgmirror:` of `_config.yml`. */

const DEFAULTS = {
  url: '',
  token: '',
  token_env: 'IMGMIRROR_TOKEN',
  all_images: false,
  responsive: false,
  pages: false,
  fields: [],
  on_error: 'warn',
  timeout: 60,
  allow_loopback: false,
  command: 'imgmirror',
  config: '',
  base_url: '',
};
const SWITCHES = ['all_images', 'responsive', 'pages', 'allow_loopback'];
const ADDRESSES = ['url', 'base_url'];
const TEXTS = ['token', 'token_env', 'config'];

/**
 * Return the options with their defaults.
 *
 * @param {object | undefined} given what stands below `imgmirror:`
 * @param {object} environment where `token_env` is looked up
 * @throws {Error} one that names every problem
 */
function optionsOf(given, environment) {
  const options = { ...DEFAULTS, ...given };
  const problems = [
    ...Object.keys(options)
      .filter(name => !(name in DEFAULTS))
      .map(name => `${name} is not known; known are ${Object.keys(DEFAULTS).join(', ')}`),
    ...SWITCHES.filter(name => typeof options[name] !== 'boolean').map(name => `${name} must be true or false`),
    ...TEXTS.filter(name => typeof options[name] !== 'string').map(name => `${name} must be a text`),
    ...ADDRESSES.filter(name => options[name] && !isAddress(options[name])).map(
      name => `${name} must be an http(s) address without a query`
    ),
  ];
  if (!['warn', 'fail'].includes(options.on_error)) problems.push('on_error must be warn or fail');
  if (!(options.timeout > 0 && options.timeout <= 3600)) problems.push('timeout must be seconds, 3600 at most');
  if (!isList(options.fields)) problems.push('fields must be a list of front-matter keys');
  const command = typeof options.command === 'string' ? [options.command] : options.command;
  if (!isList(command) || !command[0]) problems.push('command must be a program, or a list of it and its arguments');
  if (problems.length) throw new Error(`imgmirror in _config.yml: ${problems.join('; ')}`);
  return {
    ...options,
    command,
    token: options.token || environment[options.token_env] || '',
    url: options.url.replace(/\/+$/, ''),
    base_url: options.base_url.replace(/\/+$/, ''),
  };
}

function isList(value) {
  return Array.isArray(value) && value.every(item => typeof item === 'string');
}

function isAddress(text) {
  try {
    const address = new URL(text);
    return /^https?:$/.test(address.protocol) && !address.search && !address.hash && !address.username;
  } catch {
    return false;
  }
}

module.exports = { optionsOf };
