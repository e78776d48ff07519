/** The main entry. `tools/api.test.ts` keeps a snapshot of it: growing it is a decision. */

export {
  type SessionServersOptions,
  type SessionServersStore,
  sessionServers,
} from "./cluster/client/session-servers.ts";
export { type ErrorCode, isSessionError, SessionError } from "./core/errors.ts";
export type { FoundSession, ListQuery } from "./sessions/admin.ts";
export { createSessions, type Sessions } from "./sessions/create-sessions.ts";
export type { Diagnostic, SessionsStats } from "./sessions/diagnostics.ts";
export type { CookieOptions, Limits, SessionsOptions } from "./sessions/options.ts";
export type { SchemaIssue, SchemaOutput, SchemaResult, StandardSchema } from "./sessions/schema.ts";
export type { DefaultData, Session, SessionData } from "./sessions/session.ts";
export type { MountOptions, OnStoreUnavailable, VisitOptions } from "./sessions/visit-options.ts";
export type { WriteContents, WriteFrequency } from "./sessions/write-policy.ts";
export {
  type EncryptedStore,
  type EncryptedStoreOptions,
  type EncryptionKey,
  encryptedStore,
} from "./store/encrypted.ts";
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from "./store/memory.ts";
export type { SessionPage, SessionStore, SessionSummary } from "./store/store.ts";
