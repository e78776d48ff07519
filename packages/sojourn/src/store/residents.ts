/**
 * The table of resident sessions: 1,024 buckets, an index by principal, and the bytes of both. It knows no rules; those
 * are in memory.ts.
 *
 * Paging goes by (bucket, key), the last key of a page being the cursor: nothing is copied or locked between pages, and
 * what is inserted or removed meanwhile moves nobody else.
 */
import type { SessionKey } from "../core/ids.ts";
import { BUCKETS, bucketOf } from "./buckets.ts";
import { RESIDENT_OVERHEAD_BYTES, type Resident } from "./resident.ts";

/** A principal of its own: text, set and map entry. Measured: 270 bytes. */
const INDEX_ENTRY_BYTES = 256;

export class Residents {
  readonly #buckets: Map<SessionKey, Resident>[] = Array.from({ length: BUCKETS }, () => new Map());
  /** For listing and ending all of a principal. Superseded ones stay in it: they end with their principal's. */
  readonly #byPrincipal = new Map<string, Set<Resident>>();
  #size = 0;
  #bytes = 0;

  get size(): number {
    return this.#size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: SessionKey): Resident | undefined {
    return this.#buckets[bucketOf(key)]?.get(key);
  }

  bucket(index: number): ReadonlyMap<SessionKey, Resident> {
    return this.#buckets[index]!;
  }

  *all(): Iterable<Resident> {
    for (const bucket of this.#buckets) yield* bucket.values();
  }

  /** A snapshot: ending them while walking it is fine. */
  ofPrincipal(principal: string): Resident[] {
    return [...(this.#byPrincipal.get(principal) ?? [])];
  }

  add(resident: Resident): void {
    this.#buckets[bucketOf(resident.key)]!.set(resident.key, resident);
    this.#size++;
    this.#bytes += bytesOf(resident);
    this.#index(resident);
  }

  remove(resident: Resident): void {
    if (!this.#buckets[bucketOf(resident.key)]!.delete(resident.key)) return;
    this.#size--;
    this.#bytes -= bytesOf(resident);
    this.#unindex(resident);
  }

  /** New content for a resident that stays. */
  replace(resident: Resident, bytes: Buffer, principal: string | null): void {
    this.#bytes -= bytesOf(resident);
    resident.bytes = bytes;
    if (principal !== resident.principal) {
      this.#unindex(resident);
      resident.principal = principal;
      this.#index(resident);
    }
    this.#bytes += bytesOf(resident);
  }

  /** At most `limit` residents after the key `after`, in paging order. */
  page(
    after: SessionKey | undefined,
    limit: number,
    principal: string | undefined,
    wanted: (resident: Resident) => boolean,
  ): Resident[] {
    const isNext = (resident: Resident) =>
      (after === undefined || order(resident.key, after) > 0) && wanted(resident);
    if (principal !== undefined) return smallest(this.#byPrincipal.get(principal) ?? [], limit, isNext);
    const page: Resident[] = [];
    for (let index = after ? bucketOf(after) : 0; index < BUCKETS && page.length < limit; index++) {
      page.push(...smallest(this.#buckets[index]!.values(), limit - page.length, isNext));
    }
    return page;
  }

  clear(): void {
    for (const bucket of this.#buckets) bucket.clear();
    this.#byPrincipal.clear();
    this.#size = 0;
    this.#bytes = 0;
  }

  #index(resident: Resident): void {
    if (resident.principal === null) return;
    const known = this.#byPrincipal.get(resident.principal);
    if (known) known.add(resident);
    else this.#byPrincipal.set(resident.principal, new Set([resident]));
  }

  #unindex(resident: Resident): void {
    if (resident.principal === null) return;
    const known = this.#byPrincipal.get(resident.principal);
    known?.delete(resident);
    if (known?.size === 0) this.#byPrincipal.delete(resident.principal);
  }
}

function bytesOf(resident: Resident): number {
  const indexed = resident.principal === null ? 0 : INDEX_ENTRY_BYTES + resident.principal.length;
  return RESIDENT_OVERHEAD_BYTES + resident.bytes.length + indexed;
}

function order(a: SessionKey, b: SessionKey): number {
  return bucketOf(a) - bucketOf(b) || (a < b ? -1 : a > b ? 1 : 0);
}

/** The `limit` smallest in paging order, holding at most twice as many at a time. */
function smallest(
  residents: Iterable<Resident>,
  limit: number,
  wanted: (resident: Resident) => boolean,
): Resident[] {
  let found: Resident[] = [];
  const cut = () => {
    found.sort((a, b) => order(a.key, b.key));
    found = found.slice(0, limit);
  };
  for (const resident of residents) {
    if (!wanted(resident)) continue;
    found.push(resident);
    if (found.length >= 2 * limit) cut();
  }
  cut();
  return found;
}
