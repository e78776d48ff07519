/** The main entry. `tools/api.test.ts` keeps a snapshot of it: growing it is a decision. */
export { type ErrorCode, isSessionError, SessionError } from "./core/errors.ts";
export type { DefaultData, Session, SessionData } from "./sessions/session.ts";
