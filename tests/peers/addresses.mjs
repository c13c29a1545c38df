// Prints addresses that the builders of other proxies write: a list of [name, address, width, height] as JSON.
// Arguments: the service's address, a source of 600 x 300, key and salt of imgproxy in hexadecimal, key of thumbor.
import { createRequire } from "node:module";
import { transformUrl } from "unpic";

const require = createRequire(import.meta.url);
const { generateImageUrl } = require("@imgproxy/imgproxy-node");
const photon = require("photon").default;
const ThumborUrlBuilder = require("thumbor-url-builder");

const [base, source, key, salt, thumborKey] = process.argv.slice(2);
const rows = [];
const add = (name, address, width, height) => rows.push([name, String(address).replace(/^https?:\/\/[^/]+/, ""), width, height]);

const imgproxy = (name, options, width, height, displayAs = "base64") =>
  add(`imgproxy-js ${name}`, generateImageUrl({ endpoint: `${base}/imgproxy`, url: { value: source, displayAs }, options, key, salt }), width, height);
imgproxy("resize fill", { resize: { resizing_type: "fill", width: 300, height: 200 } }, 300, 200);
imgproxy("size plain", { size: { width: 200, height: 200 } }, 200, 100, "plain");
imgproxy("width dpr", { width: 100, dpr: 2, format: "webp" }, 200, 100);
imgproxy("quality gravity", { width: 150, height: 150, resizing_type: "fill", gravity: { type: "sm" }, quality: 70 }, 150, 150);
imgproxy("enlarge", { width: 900, enlarge: true, cache_buster: "v2" }, 900, 450);
imgproxy("rotate background", { width: 300, rotate: 90, background: "ff0000" }, 300, 600);

const thumbor = () => new ThumborUrlBuilder(thumborKey, `${base}/thumbor`).setImagePath(source);
add("thumbor-js resize", thumbor().resize(300, 200).buildUrl(), 300, 200);
add("thumbor-js smart", thumbor().resize(300, 200).smartCrop(true).buildUrl(), 300, 200);
add("thumbor-js fit-in", thumbor().fitIn(200, 200).buildUrl(), 200, 100);
add("thumbor-js filter", thumbor().resize(300, 0).filter("quality(70)").buildUrl(), 300, 150);

const unpic = (name, provider, operations, options, width, height) =>
  add(`unpic ${name}`, transformUrl({ url: source, provider, fallback: provider, ...operations }, {}, options), width, height);
unpic("wsrv", "wsrv", { width: 300, height: 200, format: "webp", quality: 70 }, {}, 300, 200);
unpic("wsrv width", "wsrv", { width: 300 }, {}, 300, 150);
unpic("cloudflare", "cloudflare", { width: 300, height: 200, format: "webp" }, { cloudflare: { domain: "h" } }, 300, 200);
unpic("nextjs", "nextjs", { width: 256, quality: 70 }, { nextjs: { baseUrl: base } }, 256, 128);
unpic("ipx", "ipx", { width: 300, height: 200, format: "webp", quality: 70 }, { ipx: { baseURL: `${base}/_ipx` } }, 300, 200);
unpic("ipx width", "ipx", { width: 300 }, { ipx: { baseURL: `${base}/_ipx` } }, 300, 150);

const wordpress = (name, options, width, height) => add(`photon-js ${name}`, `/photon${new URL(photon(source, options)).pathname}${new URL(photon(source, options)).search}`, width, height);
wordpress("width", { width: 300 }, 300, 150);
wordpress("resize", { resize: "300,200" }, 300, 200);
wordpress("fit", { fit: "200,200", quality: 70 }, 200, 100);
wordpress("zoom", { width: 100, zoom: 2 }, 200, 100);

console.log(JSON.stringify(rows));
