import type { components, operations } from "./schema.js";

/** Every schema of the OpenAPI document, by its name there. */
export type Schemas = components["schemas"];

/** The server's stable codes; a newer server may have more. */
export type ErrorCode = Schemas["ErrorCode"];

/** One call by its `operationId`. */
export type OperationId = keyof operations;

/** What a call sends. */
export type Body<O extends OperationId> = operations[O] extends {
  requestBody: { content: { "application/json": infer B } };
}
  ? B
  : never;

/** What a call may have in its query. */
export type Query<O extends OperationId> = operations[O] extends { parameters: { query?: infer Q } }
  ? NonNullable<Q>
  : never;

/** What a call answers: JSON, or text. */
export type Answer<O extends OperationId> = operations[O] extends {
  responses: { 200: { content: infer C } };
}
  ? C[keyof C]
  : never;

/** One call on its way. */
export interface Call {
  method: string;
  /** Path with its query not yet added, ids encoded. */
  path: string;
  query?: Readonly<Record<string, unknown>>;
  body?: unknown;
  /** Carrying it out twice does no harm. */
  repeatable: boolean;
  /** It answers text, not JSON. */
  text?: boolean;
}

/** What a single call may do otherwise. */
export interface CallOptions {
  /** Ends the call, its waits included. */
  signal?: AbortSignal;
}
