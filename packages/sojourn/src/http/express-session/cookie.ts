/**
 * The cookie of one session: what the browser is told, and how long the session lives. `expires` and `maxAge` are two
 * views of one moment; `originalMaxAge` is what every touch starts again from.
 */
import { systemClock } from "../../core/clock.ts";
import { serializeCookie } from "./cookie-header.ts";
import { deprecate } from "./warnings.ts";

/** `cookie` of the options; each is optional. "auto" follows the connection: secure or not. */
export interface CookieOptions {
  /** Milliseconds, or null: the cookie ends with the browser. Default null. */
  maxAge?: number | null | undefined;
  /** Set `maxAge` instead: a fixed date ends all sessions at once. */
  expires?: Date | null | undefined;
  /** Default "/". Requests elsewhere have no session. */
  path?: string | undefined;
  domain?: string | undefined;
  /** Default true. */
  httpOnly?: boolean | undefined;
  /** Default false. With true and a plain connection no cookie is sent: see the option `proxy`. */
  secure?: boolean | "auto" | undefined;
  /** Default false: not said. "auto": none over TLS, lax otherwise. */
  sameSite?: boolean | "lax" | "strict" | "none" | "auto" | undefined;
  priority?: "low" | "medium" | "high" | undefined;
  partitioned?: boolean | undefined;
  signed?: boolean | undefined;
  encode?: ((value: string) => string) | undefined;
}

/** What a stored session keeps of its cookie. In a store written as JSON, `expires` is text. */
export interface CookieData {
  originalMaxAge: number | null;
  expires?: Date | string | null | undefined;
  path?: string | undefined;
  domain?: string | undefined;
  httpOnly?: boolean | undefined;
  secure?: boolean | "auto" | undefined;
  sameSite?: CookieOptions["sameSite"];
  priority?: CookieOptions["priority"];
  partitioned?: boolean | undefined;
}

export class Cookie {
  path: string = "/";
  /** As stores and older programs know it; `expires` is the one to use. */
  _expires: Date | null = null;
  originalMaxAge: number | null = null;
  httpOnly: boolean = true;
  declare domain?: string | undefined;
  declare secure?: boolean | "auto" | undefined;
  declare sameSite?: CookieOptions["sameSite"];
  declare priority?: CookieOptions["priority"];
  declare partitioned?: boolean | undefined;

  /** @param options  of the middleware, or what a store kept. Later properties win: `maxAge` after `expires`. */
  constructor(options?: CookieOptions | CookieData | Cookie | null) {
    if (!options) return;
    if (typeof options !== "object") throw new TypeError("argument options must be a object");
    for (const name in options) {
      if (name !== "data" && name !== "originalMaxAge") Reflect.set(this, name, Reflect.get(options, name));
    }
    this.originalMaxAge = (options as Partial<CookieData>).originalMaxAge ?? this.originalMaxAge;
  }

  get expires(): Date | null {
    return this._expires;
  }

  set expires(date: Date | null) {
    this._expires = date;
    this.originalMaxAge = this.maxAge;
  }

  /** Milliseconds from now until `expires`; null without one. */
  get maxAge(): number | null {
    const { _expires: expires } = this;
    return expires instanceof Date ? expires.getTime() - systemClock.nowMs() : expires;
  }

  set maxAge(ms: number | null) {
    const given: unknown = ms;
    if (given && typeof given !== "number" && !(given instanceof Date)) {
      throw new TypeError("maxAge must be a number or Date");
    }
    if (given instanceof Date) {
      deprecate("MAX_AGE_DATE", "maxAge as Date; pass number of milliseconds instead");
      this.expires = given;
    } else {
      this._expires = typeof ms === "number" ? new Date(systemClock.nowMs() + ms) : ms;
      this.originalMaxAge = ms;
    }
  }

  /** What a store keeps, and what the `Set-Cookie` line says. */
  get data(): CookieData {
    return {
      originalMaxAge: this.originalMaxAge,
      partitioned: this.partitioned,
      priority: this.priority,
      expires: this._expires,
      secure: this.secure,
      httpOnly: this.httpOnly,
      domain: this.domain,
      path: this.path,
      sameSite: this.sameSite,
    };
  }

  /** One `Set-Cookie` value. */
  serialize(name: string, value: string): string {
    return serializeCookie(name, value, this.data);
  }

  toJSON(): CookieData {
    return this.data;
  }
}
