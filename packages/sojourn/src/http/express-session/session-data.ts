/**
 * What your sessions hold, declared once:
 *
 *   declare module "sojourn/express-session" {
 *     interface SessionData { user: string; views: number }
 *   }
 */
import type { Cookie } from "./cookie.ts";

export interface SessionData {
  cookie: Cookie;
}
