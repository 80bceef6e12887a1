// Calls to the public API. All that the console knows and does goes through these, as anybody's program would.

import { say } from "./i18n.js";

const KEY = "recserve-key";
/** So often a reading call is made again that the server had no room for, after as long as the server asked for. */
const RETRIES = 3;
const $ = (id) => document.getElementById(id);

/** What the server, or the way to it, had against a call; `message` is a sentence for the person. */
export class ApiError extends Error {
  /** `status` is 0 where the server could not be reached. */
  constructor(message, { status = 0, code = "unreachable", field = null } = {}) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);
export const patch = (path, body, options) => call("PATCH", path, body, options);
/** DELETE; `body` only where the route takes one. */
export const del = (path, body, options) => call("DELETE", path, body, options);

/**
 * Call the API and return its JSON answer, or the answer itself with `raw`.
 *
 * `path` is relative ("v1/items"); `query` an object whose null and empty values are left out. A call that needs a
 * key asks for one and goes on, unless `ask` is false; one that only reads is made again where the server says when.
 * Throws ApiError; an aborted call throws what fetch throws, which `aborted` knows.
 */
async function call(method, path, body, { signal, query, raw = false, ask = true } = {}) {
  for (let tries = 0; ; tries++) {
    const key = sessionStorage.getItem(KEY);
    const response = await send(method, addressOf(path, query), body, key, signal);
    const seconds = response.status === 503 && method === "GET" && tries < RETRIES && Number(response.headers.get("Retry-After"));
    if (seconds) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      signal?.throwIfAborted();
      continue;
    }
    if (response.ok && raw) return response;
    const answer = await response.json().catch(() => null);
    signal?.throwIfAborted();
    if (response.ok && answer !== null) return answer;
    if (response.ok) throw new ApiError(say("The server cannot be reached.")); // it went away in the middle of its answer
    // A call beside this one may have been given a key meanwhile.
    const again = response.status === 401 && ask && (sessionStorage.getItem(KEY) !== key || await askForKey(key !== null));
    signal?.throwIfAborted();
    if (again) continue;
    const { message, code, field } = answer?.error ?? {};
    throw new ApiError(message ?? say("The server answered {}.", response.status), { status: response.status, code, field });
  }
}

function addressOf(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function send(method, address, body, key, signal) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  const options = { method, headers, signal };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(say("The server cannot be reached."));
  }
}

/** Whether an error only says that the view it was for is gone. */
export const aborted = (error) => error?.name === "AbortError";

let asking = null;

/** Ask for an API key; resolves to whether there is a new one. Calls that need one at a time share the question. */
export function askForKey(refused = false) {
  asking ??= new Promise((resolve) => {
    const dialog = $("key-dialog");
    $("key-refused").hidden = !refused;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      const key = $("key").value.trim();
      $("key").value = "";
      asking = null;
      // Of this tab alone, and gone with it.
      if (dialog.returnValue === "use") {
        sessionStorage.setItem(KEY, key);
        remembered = null;
      }
      resolve(dialog.returnValue === "use");
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

let remembered = null;

/** What the server can be asked (`GET /v1/about`): scenarios, event types, users to try. Asked for once a key. */
export async function about(options) {
  remembered ??= get("v1/about", options);
  const asked = remembered;
  try {
    return await asked;
  } catch (error) {
    if (remembered === asked) remembered = null;
    throw error;
  }
}

/**
 * Call `work` now and every `interval` milliseconds after it ended, while the view is open and the page is seen.
 *
 * `work` handles its own errors. A hidden page asks for nothing and catches up when it is seen again.
 */
export async function poll(interval, work, signal) {
  while (!signal.aborted) {
    if (!document.hidden) await work();
    await pause(interval, signal);
  }
}

/** Wait; ends early when the view closes or the page comes back into sight. */
function pause(interval, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve(); // nothing will tell of it again
      return;
    }
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const seen = () => {
      if (!document.hidden) end();
    };
    const timer = setTimeout(end, interval);
    document.addEventListener("visibilitychange", seen);
    signal.addEventListener("abort", end);
  });
}

/** Save an answer that needs a key, which a link could not carry, as a file. */
export async function download(path, name, options) {
  const response = await get(path, { ...options, raw: true });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
