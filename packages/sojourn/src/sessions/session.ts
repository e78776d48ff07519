/**
 * A session as an application sees it. Reading is synchronous: `await req.session()` was the only wait. Everything that
 * must reach the store to be true returns a promise.
 */

/** What applications may declare once instead of passing a type everywhere: `declare module "sojourn" { interface SessionData { … } }`. */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface SessionData {}

export type DefaultData = keyof SessionData extends never ? Record<string, unknown> : SessionData;

export interface Session<Data extends object = DefaultData> {
  /** The attribute, or undefined. An object is the request's own copy: changes inside it are found and committed. */
  get<K extends keyof Data & string>(name: K): Data[K] | undefined;
  /**
   * Stores a value with this request's commit, before its headers leave. The first `set` of a visitor creates the session.
   * @throws {SessionError} UNSUPPORTED_VALUE, INVALID_VALUE (the schema refuses it), INVALID_ATTRIBUTE_NAME, SESSION_TOO_LARGE or TOO_MANY_ATTRIBUTES now rather
   *         than at commit; LATE_WRITE after the commit or the response began; SESSION_ENDED after `destroy`
   */
  set<K extends keyof Data & string>(name: K, value: Data[K]): void;
  delete(name: keyof Data & string): void;
  has(name: keyof Data & string): boolean;
  keys(): string[];

  /**
   * Changes one attribute atomically against every other request: reads the stored value, calls `change`, writes only if
   * nobody wrote in between, and otherwise calls `change` again with the newer value. Committed when it resolves, also when
   * the handler fails later, and also after the response began. Other changes stay pending; a pending `set` of the same
   * attribute is what `change` begins with. Begins a session that does not exist yet, with everything set so far.
   *
   * @param change  pure: it may run several times. Returning undefined deletes the attribute.
   * @returns       what was stored
   * @throws {SessionError} UPDATE_CONFLICT after 10 lost races or the request's store budget; SESSION_ENDED when the session ended
   */
  update<K extends keyof Data & string>(
    name: K,
    change: (current: Data[K] | undefined) => Data[K] | undefined,
  ): Promise<Data[K] | undefined>;

  /** Creates the session now if there is none, so that `id` is set. */
  start(): Promise<void>;
  /**
   * A new id for the same session, its pending changes included; the old id can no longer write. Call it at login with
   * the principal, at logout-but-stay with null, and whenever privileges change. Wait for it before answering.
   * @throws {SessionError} SESSION_LIMIT when the user has `sessionsPerPrincipalMax` sessions; the session is as before
   */
  renew(options?: { principal?: string | null }): Promise<void>;
  /** Ends the session everywhere. Pending changes are dropped, later `set`s throw. */
  destroy(): Promise<void>;
  /** Moves the idle deadline now instead of at the throttled moment. @returns false when the session is gone */
  touch(): Promise<boolean>;
  /**
   * The one commit of this request, now instead of before its headers; later `set`s throw LATE_WRITE. For a handler that
   * must know the outcome, for responses that began before the session was asked for, and for every change under the
   * writeFrequency MANUAL_UPDATE. Writes at once also under TIME_BASED_WRITE. Within a stream use `update`.
   */
  commit(): Promise<void>;

  /** The browser's secret: never log it. Null until the session exists. */
  readonly id: string | null;
  /** Opaque, changes with every commit. Null until the session exists. */
  readonly version: string | null;
  /** True until the session exists in the store and in the request that created it. */
  readonly isNew: boolean;
  /** The store could not be read and the route said `onStoreUnavailable: "anonymous"`: empty, and nothing can be written. */
  readonly isUnavailable: boolean;
  readonly principal: string | null;
  readonly createdAt: Date;
  readonly lastAccessAt: Date;
  /** The idle or the absolute deadline, whichever comes first. */
  readonly expiresAt: Date;
}
