import type { Schemas } from "./types.js";

type Event = Schemas["EventBody"];

/** What the server takes in one call. */
const MOST_EVENTS = 10_000;

/** Characters of a batch of several events; a server accepts 20 MB unless it is configured otherwise. */
const MOST_CHARACTERS = 4_000_000;

/** An event with an `event_id`: its own, else a random one. */
export function withId(event: Event): Event {
  return event.event_id ? event : { ...event, event_id: randomId() };
}

/** 128 random bits; unlike `crypto.randomUUID` also on pages that are not served over HTTPS. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Events with ids, in batches for one call each. */
export function* batches(events: Iterable<Event>, most: number): Generator<Event[], void, undefined> {
  if (!(most >= 1 && most <= MOST_EVENTS)) {
    throw new RangeError(`a batch has 1 to ${MOST_EVENTS} events, not ${most}`);
  }
  let batch: Event[] = [];
  let size = 0;
  for (const event of events) {
    const named = withId(event);
    const length = JSON.stringify(named).length;
    if (batch.length > 0 && (batch.length === most || size + length > MOST_CHARACTERS)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(named);
    size += length;
  }
  if (batch.length > 0) {
    yield batch;
  }
}
