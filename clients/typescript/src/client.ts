import { answerError, ClientError, EventsNotRecordedError, NoAnswerError } from "./errors.js";
import { batches, withId } from "./events.js";
import { Operations } from "./operations.js";
import { DEFAULT_RETRIES, mayRepeat, neverSent, type Retries, waitOf } from "./retries.js";
import type { Call, CallOptions, Schemas } from "./types.js";

export interface ClientConfig {
  /** Address of the server, a proxy's prefix included. */
  url?: string;
  /** Key, where the server has keys. */
  apiKey?: string;
  /** Seconds that one attempt may take. */
  timeout?: number;
  /** When a call that failed is sent again. */
  retries?: Partial<Retries>;
  /** How requests are sent; the global `fetch` by default. */
  fetch?: typeof fetch;
}

/** Client of a recserve server. */
export class Client extends Operations {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #timeout: number;
  readonly #retries: Readonly<Retries>;
  readonly #fetch: typeof fetch;

  constructor(config: ClientConfig = {}) {
    super();
    this.#url = (config.url ?? "http://localhost:8000").replace(/\/+$/, "");
    this.#headers = { Accept: "application/json, text/*" };
    if (config.apiKey !== undefined) {
      this.#headers["Authorization"] = `Bearer ${config.apiKey}`;
    }
    this.#timeout = config.timeout ?? 30;
    this.#retries = { ...DEFAULT_RETRIES, ...config.retries };
    // Called as a method of this client it would lose the window that browsers insist on.
    const send = config.fetch ?? fetch;
    this.#fetch = (input, init) => send(input, init);
  }

  /** Record one event. Without an `event_id` it gets one, so that a retry never counts twice. */
  recordEvent(event: Schemas["EventBody"], options?: CallOptions): Promise<Schemas["EventsAnswer"]> {
    return this.#record([withId(event)], options);
  }

  /**
   * Record many events, `batch` a call (up to 10,000). Every event gets an `event_id` before it is first
   * sent, so that a retry never counts twice. Each batch is stored as a whole or not at all.
   *
   * @throws EventsNotRecordedError: a batch failed for good; `remaining` can be recorded once more.
   */
  async recordEvents(
    events: Iterable<Schemas["EventBody"]>,
    options: CallOptions & { batch?: number } = {},
  ): Promise<Schemas["EventsAnswer"]> {
    const total = { accepted: 0, stored: 0, duplicates: 0 };
    const waiting = batches(events, options.batch ?? 1000);
    for (let next = waiting.next(); !next.done; next = waiting.next()) {
      try {
        const recorded = await this.#record(next.value, options);
        total.accepted += recorded.accepted;
        total.stored += recorded.stored;
        total.duplicates += recorded.duplicates;
      } catch (error) {
        throw new EventsNotRecordedError(error, [next.value, ...waiting].flat(), total.accepted);
      }
    }
    return total;
  }

  #record(events: Schemas["EventBody"][], options?: CallOptions): Promise<Schemas["EventsAnswer"]> {
    return this.send({ method: "POST", path: "/v1/events", body: { events }, repeatable: true }, options);
  }

  protected override async send<T>(call: Call, options: CallOptions = {}): Promise<T> {
    const began = performance.now();
    for (let attempt = 1; ; attempt += 1) {
      options.signal?.throwIfAborted();
      const elapsed = () => (performance.now() - began) / 1000;
      let wait: number | undefined;
      let failure: ClientError;
      try {
        const response = await this.#fetch(this.#address(call), this.#request(call, options.signal));
        const text = await response.text();
        if (response.ok) {
          return this.#answer<T>(call, text);
        }
        const error = answerError(response, text, attempt);
        failure = error;
        if (mayRepeat(error, call.repeatable)) {
          wait = waitOf(this.#retries, attempt, elapsed(), error.retryAfter);
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        if (error instanceof ClientError) {
          throw error;
        }
        const unsent = neverSent(error);
        const message = `${call.method} ${call.path}: ${String(error)} (attempt ${attempt})`;
        failure = new NoAnswerError(message, attempt, !unsent, error);
        if (unsent || call.repeatable) {
          wait = waitOf(this.#retries, attempt, elapsed());
        }
      }
      if (wait === undefined) {
        throw failure;
      }
      await pause(wait, options.signal);
    }
  }

  #address(call: Call): string {
    const given = Object.entries(call.query ?? {}).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value]).map((one) => [name, one] as const),
    );
    const sent = given.filter(([, value]) => value != null).map(([name, value]) => [name, String(value)]);
    const query = new URLSearchParams(sent).toString();
    return `${this.#url}${call.path}${query && `?${query}`}`;
  }

  #request(call: Call, signal: AbortSignal | undefined): RequestInit {
    const late = AbortSignal.timeout(this.#timeout * 1000);
    const request: RequestInit = {
      method: call.method,
      headers: this.#headers,
      signal: signal === undefined ? late : either(signal, late),
    };
    if (call.body !== undefined) {
      request.headers = { ...this.#headers, "Content-Type": "application/json" };
      request.body = JSON.stringify(call.body);
    }
    return request;
  }

  #answer<T>(call: Call, text: string): T {
    if (call.text) {
      return text as T;
    }
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ClientError(`${call.method} ${call.path}: the answer is not JSON; is this a recserve server?`);
    }
  }
}

/** A signal that ends with the first of two. */
function either(one: AbortSignal, other: AbortSignal): AbortSignal {
  const joined = new AbortController();
  for (const signal of [one, other]) {
    signal.addEventListener("abort", () => joined.abort(signal.reason), { once: true, signal: joined.signal });
  }
  return joined.signal;
}

function pause(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
