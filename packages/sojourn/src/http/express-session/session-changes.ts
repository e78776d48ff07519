/**
 * What a request did to its session: is it new, was it changed, was it saved. These are express-session's questions, asked
 * of the session's JSON itself instead of a hash of it.
 */
import type { Setup } from "./options.ts";
import type { Session } from "./session.ts";

/** A session's attributes as text; the cookie is not among them. */
type Picture = string;

const EMPTY: Picture = "{}";

export class SessionChanges {
  readonly #setup: Pick<Setup, "resave" | "saveUninitialized" | "rolling">;
  /** The signed id that the browser came with. */
  readonly #presentedId: string | undefined;
  /** What the request began with. */
  #originalId: string | undefined;
  #original: Picture = EMPTY;
  #saved: { readonly id: string; readonly picture: Picture } | undefined;
  /** What the store refused to the application, last. */
  #refused: Picture | undefined;
  /** Within one `end` nobody changes the session, so it is looked at once. */
  #look: { readonly session: Session; readonly picture: Picture } | undefined;
  #looksOnce = false;

  constructor(
    setup: Pick<Setup, "resave" | "saveUninitialized" | "rolling">,
    presentedId: string | undefined,
  ) {
    this.#setup = setup;
    this.#presentedId = presentedId;
  }

  /** The request begins with an empty session. */
  begin(id: string | undefined): void {
    this.#originalId = id;
  }

  /** The request begins with a session that is stored so. */
  load(session: Session): void {
    this.#originalId = session.id;
    this.#original = this.#pictureOf(session);
    if (!this.#setup.resave) this.#saved = { id: session.id, picture: this.#original };
  }

  /**
   * It is being stored as it is now: at once it counts as saved, so that a response that ends meanwhile does not save again.
   *
   * @returns to be called when that failed: the end of the response tries again
   */
  saving(session: Session): () => void {
    const before = this.#saved;
    const saved = { id: session.id, picture: this.#pictureOf(session) };
    this.#saved = saved;
    return () => {
      if (this.#saved === saved) this.#saved = before;
      this.#refused = saved.picture;
    };
  }

  /** From now on until the function it returns is called, the session is looked at once. */
  lookOnce(): () => void {
    this.#looksOnce = true;
    return () => {
      this.#looksOnce = false;
      this.#look = undefined;
    };
  }

  isNew(id: string): boolean {
    return this.#presentedId !== id;
  }

  isModified(session: Session): boolean {
    return this.#originalId !== session.id || this.#original !== this.#pictureOf(session);
  }

  mustSave(session: Session): boolean {
    if (!this.#setup.saveUninitialized && !this.#saved && this.isNew(session.id))
      return this.isModified(session);
    return this.#saved?.id !== session.id || this.#saved.picture !== this.#pictureOf(session);
  }

  /** The application tried to store it as it is now, and was refused. */
  wasRefused(session: Session): boolean {
    return this.#refused === this.#pictureOf(session);
  }

  mustSetCookie(id: string, session: Session): boolean {
    const { saveUninitialized, rolling } = this.#setup;
    if (this.isNew(id)) return saveUninitialized || this.isModified(session);
    return rolling || (session.cookie.expires != null && this.isModified(session));
  }

  #pictureOf(session: Session): Picture {
    if (this.#look?.session === session) return this.#look.picture;
    const { cookie: _, ...attributes } = session;
    const picture = JSON.stringify(attributes);
    if (this.#looksOnce) this.#look = { session, picture };
    return picture;
  }
}
