'use strict';

/** Keeps addresses that only this machine can reach out of the site. */

// What follows `/` or `?` is the source inside an address of ours.
const LOOPBACK = /(?<![/?])https?:\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?=[:/])/gi;

/**
 * Throw when a rewritten text has more addresses of this machine than before.
 *
 * @param {string} before
 * @param {string} after
 * @param {new (message: string) => Error} Kind the error to throw
 */
function requireNoLoopback(before, after, Kind) {
  if (count(after) > count(before)) {
    throw new Kind(
      'the service wrote addresses of this machine, which no visitor can open: set server.public_url in its configuration'
    );
  }
}

function count(text) {
  return (text.match(LOOPBACK) || []).length;
}

module.exports = { requireNoLoopback };
