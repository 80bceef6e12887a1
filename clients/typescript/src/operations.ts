// Generated from the OpenAPI document by `python -m tools.clients`; do not edit.

import type { Answer, Body, Call, CallOptions, Query, Schemas } from "./types.js";

/** All calls of the API, but for those that record events. */
export abstract class Operations {
  /** Sends a call and reads its answer. */
  protected abstract send<T>(call: Call, options?: CallOptions): Promise<T>;

  /** An id as a part of a path. */
  protected part(id: string): string {
    if (id === "" || id === "." || id === "..") {
      throw new RangeError(`"${id}" cannot be part of a URL`);
    }
    return encodeURIComponent(id);
  }

  /**
   * Recommend items. For a user, a session, an item, free text, or any combination; with none of
   * them, what is popular. If a part of the server is down the answer is less personal and
   * `degraded` says so. `cursor` of the answer, sent with the same body, asks for the next page;
   * pages repeat no item.
   */
  recommend(body: Body<"recommend"> = {}, options?: CallOptions): Promise<Answer<"recommend">> {
    return this.send<Answer<"recommend">>({ method: "POST", path: "/v1/recommend", body, repeatable: true }, options);
  }

  /**
   * Recommend items, page by page, as far as they are read.
   */
  async *iterRecommend(body: Omit<Body<"recommend">, "cursor"> = {}, options?: CallOptions): AsyncGenerator<Schemas["RecommendedItemAnswer"], void, undefined> {
    let cursor: string | undefined;
    do {
      const page: Answer<"recommend"> = await this.recommend({ ...body, cursor }, options);
      yield* page.items;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Recommend items to a user. The same by URL alone, for browsers and links. `cursor` is null where
   * it would be too long for one.
   */
  recommendToUser(user_id: string, query: Query<"recommend_to_user"> = {}, options?: CallOptions): Promise<Answer<"recommend_to_user">> {
    return this.send<Answer<"recommend_to_user">>({ method: "GET", path: `/v1/recommend/${this.part(user_id)}`, query, repeatable: true }, options);
  }

  /**
   * Recommend items to a user, page by page, as far as they are read.
   */
  async *iterRecommendToUser(user_id: string, query: Omit<Query<"recommend_to_user">, "cursor"> = {}, options?: CallOptions): AsyncGenerator<Schemas["RecommendedItemAnswer"], void, undefined> {
    let cursor: string | undefined;
    do {
      const page: Answer<"recommend_to_user"> = await this.recommendToUser(user_id, { ...query, cursor }, options);
      yield* page.items;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Similar items. Served by the scenario called `similar` if there is one, else by the default one.
   */
  similar(body: Body<"similar">, options?: CallOptions): Promise<Answer<"similar">> {
    return this.send<Answer<"similar">>({ method: "POST", path: "/v1/similar", body, repeatable: true }, options);
  }

  /**
   * Similar items, page by page, as far as they are read.
   */
  async *iterSimilar(body: Omit<Body<"similar">, "cursor">, options?: CallOptions): AsyncGenerator<Schemas["RecommendedItemAnswer"], void, undefined> {
    let cursor: string | undefined;
    do {
      const page: Answer<"similar"> = await this.similar({ ...body, cursor }, options);
      yield* page.items;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Rank items. Puts the caller's own list in order for a user, a session or free text, with the
   * scenario's ranker, filters and rerankers. What may not be returned is in `left_out`.
   */
  rank(body: Body<"rank">, options?: CallOptions): Promise<Answer<"rank">> {
    return this.send<Answer<"rank">>({ method: "POST", path: "/v1/rank", body, repeatable: true }, options);
  }

  /**
   * Take back what a user did with an item. All events of the user with the item. They do not count
   * in the very next recommendation, and a late retry does not bring them back.
   */
  deleteEvents(query: Query<"delete_events">, options?: CallOptions): Promise<Answer<"delete_events">> {
    return this.send<Answer<"delete_events">>({ method: "DELETE", path: "/v1/events", query, repeatable: true }, options);
  }

  /**
   * Take an event back. It does not count in the very next recommendation. Its `event_id` cannot be
   * used again.
   */
  deleteEvent(event_id: string, options?: CallOptions): Promise<Answer<"delete_event">> {
    return this.send<Answer<"delete_event">>({ method: "DELETE", path: `/v1/events/${this.part(event_id)}`, repeatable: true }, options);
  }

  /**
   * List items. The whole catalogue, part by part: `cursor` of each answer asks for the next part.
   * The order is fixed and means nothing. An item is never listed twice, even while others write.
   * With `q`, `attribute` or `state` only what matches: a call looks at no more than 20,000 items,
   * so it may find few or none and still have a `cursor`.
   */
  listItems(query: Query<"list_items"> = {}, options?: CallOptions): Promise<Answer<"list_items">> {
    return this.send<Answer<"list_items">>({ method: "GET", path: "/v1/items", query, repeatable: true }, options);
  }

  /**
   * List items, page by page, as far as they are read.
   */
  async *iterItems(query: Omit<Query<"list_items">, "cursor"> = {}, options?: CallOptions): AsyncGenerator<Schemas["ItemAnswer"], void, undefined> {
    let cursor: string | undefined;
    do {
      const page: Answer<"list_items"> = await this.listItems({ ...query, cursor }, options);
      yield* page.items;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Add or replace items. Up to 10,000 items, all or none. They are durable when this answers, and
   * can be found by content within seconds, without training.
   */
  upsertItems(body: Body<"upsert_items">, options?: CallOptions): Promise<Answer<"upsert_items">> {
    return this.send<Answer<"upsert_items">>({ method: "POST", path: "/v1/items", body, repeatable: true }, options);
  }

  /**
   * Change items. Sets some attributes (null removes one), hides items or lets them expire; what is
   * left out stays. A hidden or expired item is not in any answer from now on.
   */
  patchItems(body: Body<"patch_items">, options?: CallOptions): Promise<Answer<"patch_items">> {
    return this.send<Answer<"patch_items">>({ method: "PATCH", path: "/v1/items", body, repeatable: true }, options);
  }

  /**
   * Delete items. Up to 10,000 items, all or none. No answer has them from now on. Deleting again
   * does no harm.
   */
  deleteItems(body: Body<"delete_items">, options?: CallOptions): Promise<Answer<"delete_items">> {
    return this.send<Answer<"delete_items">>({ method: "DELETE", path: "/v1/items", body, repeatable: true }, options);
  }

  /**
   * Map of items. Up to 2,000 items of the bundle in service on a plane: the two principal
   * components of their text vectors. Near one another are items whose texts are alike. Hidden items
   * are left out; without a text encoder there are no points.
   */
  vectorMap(query: Query<"vector_map"> = {}, options?: CallOptions): Promise<Answer<"vector_map">> {
    return this.send<Answer<"vector_map">>({ method: "GET", path: "/v1/vectors/map", query, repeatable: true }, options);
  }

  /**
   * Who would like an item. The users who want it most, in order, with scores. Considered are up to
   * 2,000 users, those of the newest events, who have not had the item; `considered` says how many
   * they were. Works for an item that was written a moment ago: it is judged by its text. The
   * scenario's ranker must be able to compare users.
   */
  audience(item_id: string, body: Body<"audience"> = {}, options?: CallOptions): Promise<Answer<"audience">> {
    return this.send<Answer<"audience">>({ method: "POST", path: `/v1/items/${this.part(item_id)}/audience`, body, repeatable: true }, options);
  }

  /**
   * One item. Its id, title, attributes and state.
   */
  item(item_id: string, options?: CallOptions): Promise<Answer<"item">> {
    return this.send<Answer<"item">>({ method: "GET", path: `/v1/items/${this.part(item_id)}`, repeatable: true }, options);
  }

  /**
   * Delete an item. No answer has it from now on. Deleting again does no harm.
   */
  deleteItem(item_id: string, options?: CallOptions): Promise<Answer<"delete_item">> {
    return this.send<Answer<"delete_item">>({ method: "DELETE", path: `/v1/items/${this.part(item_id)}`, repeatable: true }, options);
  }

  /**
   * List users. All users with a profile, with events, or with any of them, part by part, as for
   * items; or what is known of one.
   */
  listUsers(query: Query<"list_users"> = {}, options?: CallOptions): Promise<Answer<"list_users">> {
    return this.send<Answer<"list_users">>({ method: "GET", path: "/v1/users", query, repeatable: true }, options);
  }

  /**
   * List users, page by page, as far as they are read.
   */
  async *iterUsers(query: Omit<Query<"list_users">, "cursor"> = {}, options?: CallOptions): AsyncGenerator<Schemas["ListedUserAnswer"], void, undefined> {
    let cursor: string | undefined;
    do {
      const page: Answer<"list_users"> = await this.listUsers({ ...query, cursor }, options);
      yield* page.users;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Add or replace profiles. Up to 10,000 users, all or none. A user needs no profile; stated
   * interests help while there are few events.
   */
  upsertUsers(body: Body<"upsert_users">, options?: CallOptions): Promise<Answer<"upsert_users">> {
    return this.send<Answer<"upsert_users">>({ method: "POST", path: "/v1/users", body, repeatable: true }, options);
  }

  /**
   * Change profiles. Sets some attributes; null removes one; what is left out stays.
   */
  patchUsers(body: Body<"patch_users">, options?: CallOptions): Promise<Answer<"patch_users">> {
    return this.send<Answer<"patch_users">>({ method: "PATCH", path: "/v1/users", body, repeatable: true }, options);
  }

  /**
   * A user's history. Newest first, part by part: `cursor` of each answer asks for the next, older
   * part. What happens meanwhile repeats and skips nothing.
   */
  history(user_id: string, query: Query<"history"> = {}, options?: CallOptions): Promise<Answer<"history">> {
    return this.send<Answer<"history">>({ method: "GET", path: `/v1/users/${this.part(user_id)}/history`, query, repeatable: true }, options);
  }

  /**
   * A user's history, page by page, as far as they are read.
   */
  async *iterHistory(user_id: string, query: Omit<Query<"history">, "cursor"> = {}, options?: CallOptions): AsyncGenerator<Schemas["HistoryEvent"], void, undefined> {
    let cursor: string | undefined;
    do {
      const page: Answer<"history"> = await this.history(user_id, { ...query, cursor }, options);
      yield* page.events;
      cursor = page.cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * Log a session in. Events that were sent under the id of an anonymous session become this user's;
   * attributes are added where the user has none of that name. Merging again does no harm.
   */
  mergeUser(user_id: string, body: Body<"merge_user">, options?: CallOptions): Promise<Answer<"merge_user">> {
    return this.send<Answer<"merge_user">>({ method: "POST", path: `/v1/users/${this.part(user_id)}/merge`, body, repeatable: true }, options);
  }

  /**
   * A user's profile. Its attributes.
   */
  user(user_id: string, options?: CallOptions): Promise<Answer<"user">> {
    return this.send<Answer<"user">>({ method: "GET", path: `/v1/users/${this.part(user_id)}`, repeatable: true }, options);
  }

  /**
   * Forget a user. Removes events, profile and logged recommendations from the store and from all
   * caches; no bundle that is trained from now on knows the person. The receipt does not name the
   * person.
   */
  deleteUser(user_id: string, options?: CallOptions): Promise<Answer<"delete_user">> {
    return this.send<Answer<"delete_user">>({ method: "DELETE", path: `/v1/users/${this.part(user_id)}`, repeatable: true }, options);
  }

  /**
   * Report what became of recommendations. Impressions, clicks, conversions and value of a span of
   * days, by what showed them, with intervals over users. One report is made at a time; the first
   * one after many new days counts them and takes longer.
   */
  reportOutcomes(query: Query<"report_outcomes"> = {}, options?: CallOptions): Promise<Answer<"report_outcomes">> {
    return this.send<Answer<"report_outcomes">>({ method: "GET", path: "/v1/reports/outcomes", query, repeatable: true }, options);
  }

  /**
   * List experiments. All of them, oldest first.
   */
  listExperiments(options?: CallOptions): Promise<Answer<"list_experiments">> {
    return this.send<Answer<"list_experiments">>({ method: "GET", path: "/v1/experiments", repeatable: true }, options);
  }

  /**
   * Create an experiment. It does not run before it is started, and its definition never changes.
   * Needs the scope `admin`, as starting and stopping do.
   */
  createExperiment(body: Body<"create_experiment">, options?: CallOptions): Promise<Answer<"create_experiment">> {
    return this.send<Answer<"create_experiment">>({ method: "POST", path: "/v1/experiments", body, repeatable: false }, options);
  }

  /**
   * One experiment. Its definition, and what has become of it.
   */
  experiment(name: string, options?: CallOptions): Promise<Answer<"experiment">> {
    return this.send<Answer<"experiment">>({ method: "GET", path: `/v1/experiments/${this.part(name)}`, repeatable: true }, options);
  }

  /**
   * Report an experiment. What each arm did, differences with intervals that hold at every look at
   * once, so that it may be read and stopped on any day, and whether the arms got their shares of
   * users.
   */
  reportExperiment(name: string, options?: CallOptions): Promise<Answer<"report_experiment">> {
    return this.send<Answer<"report_experiment">>({ method: "GET", path: `/v1/experiments/${this.part(name)}/report`, repeatable: true }, options);
  }

  /**
   * Start an experiment. Every server of the store follows within about a second. One that runs can
   * be started again with a larger share: who is in it stays in the same arm.
   */
  startExperiment(name: string, body: Body<"start_experiment"> = {}, options?: CallOptions): Promise<Answer<"start_experiment">> {
    return this.send<Answer<"start_experiment">>({ method: "POST", path: `/v1/experiments/${this.part(name)}/start`, body, repeatable: false }, options);
  }

  /**
   * Stop an experiment. For good, or one of its arms: whom that had are served as if there were no
   * experiment.
   */
  stopExperiment(name: string, body: Body<"stop_experiment"> = {}, options?: CallOptions): Promise<Answer<"stop_experiment">> {
    return this.send<Answer<"stop_experiment">>({ method: "POST", path: `/v1/experiments/${this.part(name)}/stop`, body, repeatable: false }, options);
  }

  /**
   * List bundles. The newest ones, which of them is to be served, and the newest promotions: who,
   * when, why and by which figures.
   */
  listBundles(query: Query<"list_bundles"> = {}, options?: CallOptions): Promise<Answer<"list_bundles">> {
    return this.send<Answer<"list_bundles">>({ method: "GET", path: "/v1/bundles", query, repeatable: true }, options);
  }

  /**
   * Compare two bundles. What training measured of each, their difference over the same users where
   * there is one, and what differs in what made them. Nothing is fitted for it; what users did with
   * each is in the report of outcomes by `bundle`.
   */
  compareBundles(query: Query<"compare_bundles">, options?: CallOptions): Promise<Answer<"compare_bundles">> {
    return this.send<Answer<"compare_bundles">>({ method: "GET", path: "/v1/bundles/compare", query, repeatable: true }, options);
  }

  /**
   * Roll back. Makes the bundle that was current before this one current again. A second rollback
   * returns to where the first one came from. Needs the scope `admin`.
   */
  rollBackBundle(body: Body<"roll_back_bundle"> = {}, options?: CallOptions): Promise<Answer<"roll_back_bundle">> {
    return this.send<Answer<"roll_back_bundle">>({ method: "POST", path: "/v1/bundles/rollback", body, repeatable: false }, options);
  }

  /**
   * One bundle. What made it, what training measured of it, and when it was current.
   */
  bundle(bundle_id: string, options?: CallOptions): Promise<Answer<"bundle">> {
    return this.send<Answer<"bundle">>({ method: "GET", path: `/v1/bundles/${this.part(bundle_id)}`, repeatable: true }, options);
  }

  /**
   * A bundle's offline report. A page without scripts that shows what training measured. It is kept
   * where the bundle was trained, in the home folder.
   */
  bundleReport(bundle_id: string, options?: CallOptions): Promise<Answer<"bundle_report">> {
    return this.send<Answer<"bundle_report">>({ method: "GET", path: `/v1/bundles/${this.part(bundle_id)}/report`, repeatable: true, text: true }, options);
  }

  /**
   * Promote a bundle. Makes it current, unless the evidence speaks against it: what training
   * measured of both bundles on the same data, what chance has shown since, and experiments. Servers
   * follow within seconds. Nothing is fitted for it: where the two were not measured on the same
   * data the answer is 409 with the code `not_measured`. Needs the scope `admin`.
   */
  promoteBundle(bundle_id: string, body: Body<"promote_bundle"> = {}, options?: CallOptions): Promise<Answer<"promote_bundle">> {
    return this.send<Answer<"promote_bundle">>({ method: "POST", path: `/v1/bundles/${this.part(bundle_id)}/promote`, body, repeatable: false }, options);
  }

  /**
   * The configuration. What the server runs with, secrets shown as `***`. Needs the scope `admin`.
   */
  configuration(options?: CallOptions): Promise<Answer<"configuration">> {
    return this.send<Answer<"configuration">>({ method: "GET", path: "/v1/config", repeatable: true }, options);
  }

  /**
   * Check a changed configuration. Names every mistake, and says what the text would change and what
   * that needs. Nothing is applied or written: a server gets its configuration from whoever deploys
   * it. Needs the scope `admin`.
   */
  checkConfiguration(body: Body<"check_configuration">, options?: CallOptions): Promise<Answer<"check_configuration">> {
    return this.send<Answer<"check_configuration">>({ method: "POST", path: "/v1/config/validate", body, repeatable: false }, options);
  }

  /**
   * Installed plugins. Where each comes from, what it contributes, and the JSON schema of every
   * component's parameters.
   */
  plugins(options?: CallOptions): Promise<Answer<"plugins">> {
    return this.send<Answer<"plugins">>({ method: "GET", path: "/v1/plugins", repeatable: true }, options);
  }

  /**
   * What this server can be asked. Scenarios, event types with their scales, and a few users to try.
   */
  about(options?: CallOptions): Promise<Answer<"about">> {
    return this.send<Answer<"about">>({ method: "GET", path: "/v1/about", repeatable: true }, options);
  }

  /**
   * Metrics. For Prometheus, in its text format: every replica of every stage, by `stage`, `replica`
   * and `node`.
   */
  metrics(options?: CallOptions): Promise<Answer<"metrics">> {
    return this.send<Answer<"metrics">>({ method: "GET", path: "/v1/metrics", repeatable: true, text: true }, options);
  }

  /**
   * Liveness. Whether the process works; if not, restart it.
   */
  live(options?: CallOptions): Promise<Answer<"live">> {
    return this.send<Answer<"live">>({ method: "GET", path: "/v1/health/live", repeatable: true }, options);
  }

  /**
   * Readiness. Whether requests should be sent here.
   */
  ready(options?: CallOptions): Promise<Answer<"ready">> {
    return this.send<Answer<"ready">>({ method: "GET", path: "/v1/health/ready", repeatable: true }, options);
  }

  /**
   * What the server does now. Requests, events, latencies, caches, what was degraded, the bundle,
   * and every replica of every stage. All counts are totals: ask twice and take the difference. It
   * is gathered at most every two seconds, however many ask.
   */
  liveNow(options?: CallOptions): Promise<Answer<"live_now">> {
    return this.send<Answer<"live_now">>({ method: "GET", path: "/v1/live", repeatable: true }, options);
  }
}
