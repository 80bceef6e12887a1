export { Client, type ClientConfig } from "./client.js";
export { AnswerError, ClientError, EventsNotRecordedError, NoAnswerError } from "./errors.js";
export type { Retries } from "./retries.js";
export type { components, operations, paths } from "./schema.js";
export type { Answer, Body, CallOptions, ErrorCode, OperationId, Query, Schemas } from "./types.js";
