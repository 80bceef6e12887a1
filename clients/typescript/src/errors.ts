import type { ErrorCode, Schemas } from "./types.js";

/** Base of all errors of this client. */
export class ClientError extends Error {
  override name = "ClientError";
}

/** No answer came: the server cannot be reached, or took longer than the timeout. */
export class NoAnswerError extends ClientError {
  override name = "NoAnswerError";

  constructor(
    message: string,
    /** How often the call was sent. */
    readonly attempts: number,
    /** The server may have got the call all the same. */
    readonly maybeDone: boolean,
    cause: unknown,
  ) {
    super(message, { cause });
  }
}

/** The server refused, or failed. */
export class AnswerError extends ClientError {
  override name = "AnswerError";

  constructor(
    /** HTTP status. */
    readonly status: number,
    /** The server's stable code; `http_error` where something before the server answered. */
    readonly code: ErrorCode | (string & {}),
    /** One line for people, without status and code. */
    readonly detail: string,
    /** The field at fault, where there is one. */
    readonly field: string | null,
    /** Seconds after which the server wants to be asked again. */
    readonly retryAfter: number | undefined,
    /** Stands for the call in the server's log. */
    readonly requestId: string | null,
    /** How often the call was sent. */
    readonly attempts: number,
  ) {
    super(`${status} ${code}: ${detail}`);
  }
}

/**
 * Some events of many could not be recorded. Recording `remaining` once more is safe: these events have
 * their ids, so none of them counts twice.
 */
export class EventsNotRecordedError extends ClientError {
  override name = "EventsNotRecordedError";

  constructor(
    cause: unknown,
    readonly remaining: Schemas["EventBody"][],
    /** How many events the server had acknowledged before. */
    readonly accepted: number,
  ) {
    super(`${remaining.length} events are not recorded (${accepted} are): ${String(cause)}`, { cause });
  }
}

/** The error that an answer stands for. */
export function answerError(response: Response, text: string, attempts: number): AnswerError {
  let code = "http_error";
  let detail = text.replace(/\s+/g, " ").slice(0, 200) || "no text";
  let field: string | null = null;
  try {
    const error = (JSON.parse(text) as Partial<Schemas["ErrorAnswer"]>).error;
    if (typeof error?.code === "string") {
      ({ code, message: detail, field } = error);
    }
  } catch {
    // Not the server's own answer.
  }
  const retryAfter = secondsOf(response.headers.get("Retry-After"));
  return new AnswerError(
    response.status,
    code,
    detail,
    field,
    retryAfter,
    response.headers.get("X-Request-ID"),
    attempts,
  );
}

/** The header `Retry-After`, seconds or a date (RFC 9110, 10.2.3), as seconds from now. */
function secondsOf(header: string | null): number | undefined {
  if (header === null) {
    return undefined;
  }
  if (/^\s*\d+\s*$/.test(header)) {
    return Number(header);
  }
  const moment = Date.parse(header);
  return Number.isNaN(moment) ? undefined : Math.max(0, (moment - Date.now()) / 1000);
}
