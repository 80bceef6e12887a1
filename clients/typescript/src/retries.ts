import type { AnswerError } from "./errors.js";

/**
 * How often a call is sent, and how long it may take in all. Waits grow exponentially with full jitter; a
 * server that names a time by `Retry-After` is not asked earlier. All times are seconds.
 */
export interface Retries {
  /** How often a call is sent at most; 1 never sends it again. */
  attempts: number;
  /** Longest first wait. */
  first: number;
  /** No single wait is longer; where the server asks for more, the call fails at once. */
  longest: number;
  /** Time since the call began after which no further wait begins. */
  total: number;
}

export const DEFAULT_RETRIES: Readonly<Retries> = { attempts: 5, first: 0.2, longest: 10, total: 60 };

/** Codes after which nobody knows whether the call was carried out. */
const UNDECIDED = new Set(["outcome_unknown", "timeout", "http_error"]);

/** Codes of Node.js for connections that never came about. */
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

/** Seconds to wait after an attempt that failed; undefined gives up. */
export function waitOf(
  policy: Readonly<Retries>,
  attempt: number,
  elapsed: number,
  retryAfter = 0,
): number | undefined {
  const jitter = Math.random() * Math.min(policy.longest, policy.first * 2 ** (attempt - 1));
  const wait = retryAfter + jitter;
  const over = retryAfter > policy.longest || elapsed + wait > policy.total;
  return attempt >= policy.attempts || over ? undefined : wait;
}

/** Whether a call that was answered by an error may be sent again. */
export function mayRepeat(error: AnswerError, repeatable: boolean): boolean {
  switch (error.status) {
    case 429:
      return true;
    case 503:
      return repeatable || !UNDECIDED.has(error.code);
    case 502:
    case 504:
      return repeatable;
    default:
      return false;
  }
}

/** Whether a request surely did not reach the server; browsers do not say. */
export function neverSent(failure: unknown): boolean {
  const cause = failure instanceof Error ? (failure.cause as { code?: string } | undefined) : undefined;
  return cause?.code !== undefined && NEVER_SENT.has(cause.code);
}
