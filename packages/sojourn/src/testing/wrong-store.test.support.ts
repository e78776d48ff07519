/** A plain store with one mistake: those that sit around a right store are here, those inside it in plain-store.ts. */
import type { SessionKey } from "../core/ids.ts";
import type { NewSession, SessionDelta, SessionRecord } from "../core/record.ts";
import type { Epoch } from "../core/version.ts";
import {
  type ApplyOptions,
  type ApplyResult,
  type CreateResult,
  type ListOptions,
  RENEWAL_GRACE_MS,
  type ReadOptions,
  type SessionPage,
  type SupersedeOptions,
  type SupersedeResult,
  type Watch,
  type WatchListener,
  type WriteOptions,
} from "../store/store.ts";
import type { Mistake } from "./mistakes.test.support.ts";
import { PlainStore, type PlainStoreOptions } from "./plain-store.test.support.ts";

export class WrongStore extends PlainStore {
  readonly #mistake: Mistake | undefined;
  readonly #barred = new Set<string>();
  readonly #firstPrincipal = new Map<SessionKey, string | null>();
  #under: "apply" | "touch" | "supersede" | undefined;
  #applies = 0;

  constructor(options: PlainStoreOptions) {
    super(options);
    this.#mistake = options.mistake;
  }

  override async read(key: SessionKey, options?: ReadOptions): Promise<SessionRecord | null> {
    const record = await super.read(key, options);
    if (!record && this.#wrong("unknown keys read as empty sessions")) return nothing(key);
    return record;
  }

  override async create(session: NewSession, options?: WriteOptions): Promise<CreateResult> {
    const principal = session.principal?.principal ?? null;
    this.#firstPrincipal.set(session.key, principal);
    if (this.#wrong("empty sessions are not kept") && session.attributes.size === 0) {
      return { status: "created", version: { epoch: "0123456789abcdef" as Epoch, counter: 1 } };
    }
    if (principal !== null && this.#barred.has(principal)) return { status: "gone" };
    if (this.#wrong("principals are trimmed") && session.principal) {
      const trimmed = { ...session.principal, principal: principal?.trim() ?? null };
      return super.create({ ...session, principal: trimmed }, options);
    }
    return super.create({ ...session, attributes: this.#spoilt(session.attributes) }, options);
  }

  override async apply(key: SessionKey, delta: SessionDelta, options?: ApplyOptions): Promise<ApplyResult> {
    const { principal, expiresAtMs, ...rest } = delta;
    const kept = {
      ...rest,
      ...(delta.set ? { set: this.#spoilt(delta.set) } : {}),
      ...(principal && !this.#wrong("apply leaves the principal") ? { principal } : {}),
      ...(expiresAtMs !== undefined && !this.#wrong("apply leaves the deadline") ? { expiresAtMs } : {}),
    };
    this.#applies++;
    const result = await this.#during("apply", () => super.apply(key, kept, options));
    if (result.status === "gone" && this.#wrong("apply creates")) {
      const [expiresAtMs, absoluteExpiresAtMs] = [8e12, 8e12];
      await super.create({ key, attributes: kept.set ?? new Map(), expiresAtMs, absoluteExpiresAtMs });
    }
    return result;
  }

  override async touch(key: SessionKey, expiresAtMs: number, options?: WriteOptions): Promise<boolean> {
    const touched = await this.#during("touch", () => super.touch(key, expiresAtMs, options));
    if (!touched && this.#wrong("touch creates")) {
      await super.create({ key, attributes: new Map(), expiresAtMs, absoluteExpiresAtMs: expiresAtMs });
    }
    return touched;
  }

  override async supersede(key: SessionKey, options: SupersedeOptions): Promise<SupersedeResult> {
    const graceMs = options.graceMs || RENEWAL_GRACE_MS;
    const given = this.#wrong("grace 0 is the default") ? { ...options, graceMs } : options;
    const result = await this.#during("supersede", () => super.supersede(key, given));
    if (result.status === "gone" && this.#wrong("supersede creates")) {
      return { status: "superseded", final: nothing(key) };
    }
    return result;
  }

  override async destroy(key: SessionKey, options?: WriteOptions): Promise<boolean> {
    const superseded = (await super.read(key))?.state === "superseded";
    if (superseded && this.#wrong("superseded ids cannot be destroyed")) return false;
    return (await super.destroy(key, options)) || this.#wrong("destroy always says true");
  }

  override async endAll(
    principal: string,
    options?: WriteOptions & { readonly except?: SessionKey },
  ): Promise<number> {
    if (this.#wrong("endAll bars the principal for good")) this.#barred.add(principal);
    return super.endAll(principal, options);
  }

  override async list(options: ListOptions = {}): Promise<SessionPage> {
    const limit = options.limit ?? 100;
    if (this.#wrong("any limit goes") && !(limit >= 1 && limit <= 1000)) return { sessions: [] };
    const { principal, ...rest } = options;
    if (principal !== undefined && this.#wrong("only principals of the beginning are found")) {
      const { sessions } = await super.list({ ...rest, limit: 1000 });
      return { sessions: sessions.filter(({ key }) => this.#firstPrincipal.get(key) === principal) };
    }
    return super.list(options);
  }

  override async watch(listener: WatchListener): Promise<Watch> {
    const forgets = () =>
      (this.#under === "apply" && this.#wrong("watch forgets apply")) ||
      (this.#under === "apply" && this.#wrong("watch forgets its own apply")) ||
      (this.#under === "touch" && this.#wrong("watch forgets touch")) ||
      (this.#under === "supersede" && this.#wrong("watch forgets supersede")) ||
      (this.#under === "apply" && this.#applies % 2 === 0 && this.#wrong("watch tells one in two applies"));
    const watch = await super.watch({
      invalidated(keys) {
        if (!forgets()) listener.invalidated(keys);
      },
    });
    return this.#wrong("a closed watch is still told") ? { ...watch, close: () => undefined } : watch;
  }

  override async close(): Promise<void> {
    if (this.#wrong("works after close")) return;
    if (this.#wrong("close hangs")) await new Promise(() => undefined);
    await super.close();
  }

  #wrong(mistake: Mistake): boolean {
    return this.#mistake === mistake;
  }

  #spoilt(attributes: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
    let entries = [...attributes];
    if (this.#wrong("at most 512 attributes are kept")) entries = entries.slice(0, 512);
    if (this.#wrong("names pass through an object")) {
      // `object["__proto__"] = value` sets no property.
      entries = entries.filter(([name]) => name !== "__proto__");
    }
    return new Map(
      entries.map(([name, value]) => {
        const text = Buffer.from(value).toString();
        if (this.#wrong("names are normalised")) return [name.normalize("NFC"), value];
        if (this.#wrong("long values are cut")) return [name, value.subarray(0, 65_536)];
        return [name, this.#wrong("values pass through text") ? Buffer.from(text) : value];
      }),
    );
  }

  /** A plain store changes and tells before its call returns. */
  #during<T>(call: "apply" | "touch" | "supersede", act: () => T): T {
    this.#under = call;
    try {
      return act();
    } finally {
      this.#under = undefined;
    }
  }
}

function nothing(key: SessionKey): SessionRecord {
  const version = { epoch: "0123456789abcdef" as Epoch, counter: 1 };
  return {
    key,
    birth: "0123456789abcdef",
    createdAtMs: 0,
    touchedAtMs: 0,
    expiresAtMs: 0,
    absoluteExpiresAtMs: 0,
    principal: null,
    state: "live",
    version,
    lineage: new Map([[version.epoch, 1]]),
    stamp: { physicalMs: 0, logical: 0, member: "nobody" },
    attributes: new Map(),
  };
}
